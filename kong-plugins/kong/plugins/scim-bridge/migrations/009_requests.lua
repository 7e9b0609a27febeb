-- The provider log, the numbers of its requests by hour, and an index of deliveries that were given up, as
-- printed by `python -m kong_scim.directory.ddl --dialect postgresql --migration 009_requests`
-- (tests/bridge/test_databases.py compares).
return {
  postgres = {
    up = [[
CREATE TABLE IF NOT EXISTS scim_request_hours (
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	hour TEXT COLLATE "C" NOT NULL,
	requests BIGINT NOT NULL,
	failed BIGINT NOT NULL,
	PRIMARY KEY (workspace, tenant, hour)
);
CREATE TABLE IF NOT EXISTS scim_requests (
	number BIGSERIAL NOT NULL,
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	at TEXT COLLATE "C" NOT NULL,
	method TEXT COLLATE "C" NOT NULL,
	path TEXT COLLATE "C" NOT NULL,
	status INTEGER NOT NULL,
	milliseconds INTEGER NOT NULL,
	token TEXT COLLATE "C" NOT NULL,
	provider TEXT COLLATE "C" NOT NULL,
	error TEXT COLLATE "C" NOT NULL,
	body TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (number)
);
CREATE INDEX IF NOT EXISTS scim_requests_failed ON scim_requests (workspace, tenant, number) WHERE status >= 400;
CREATE INDEX IF NOT EXISTS scim_requests_order ON scim_requests (workspace, tenant, number);
CREATE INDEX IF NOT EXISTS scim_deliveries_dead ON scim_deliveries (workspace, tenant, target, number) WHERE state = 'dead';
    ]],
  },
}
