-- Who left lately, and the quarantine of a tenant that too many left, as printed by
-- `python -m kong_scim.directory.ddl --dialect postgresql --migration 004_quarantine`
-- (tests/bridge/test_databases.py compares).
return {
  postgres = {
    up = [[
CREATE TABLE IF NOT EXISTS scim_departures (
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	user_id TEXT COLLATE "C" NOT NULL,
	state TEXT COLLATE "C" NOT NULL,
	operation TEXT COLLATE "C" NOT NULL,
	at TEXT COLLATE "C" NOT NULL,
	refused BIGINT NOT NULL,
	PRIMARY KEY (workspace, tenant, user_id)
);
CREATE INDEX IF NOT EXISTS scim_departures_order ON scim_departures (workspace, tenant, state, at);
CREATE TABLE IF NOT EXISTS scim_quarantines (
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	state TEXT COLLATE "C" NOT NULL,
	until TEXT COLLATE "C" NOT NULL,
	since TEXT COLLATE "C" NOT NULL,
	reason TEXT COLLATE "C" NOT NULL,
	event_id TEXT COLLATE "C" NOT NULL,
	refused BIGINT NOT NULL,
	decided TEXT COLLATE "C" NOT NULL,
	decided_by TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (workspace, tenant)
);
    ]],
  },
}
