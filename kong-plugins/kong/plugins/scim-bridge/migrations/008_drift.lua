-- The differences between what SCIM wants and what Kong has, and the pass that looks for them, as printed by
-- `python -m kong_scim.directory.ddl --dialect postgresql --migration 008_drift`
-- (tests/bridge/test_databases.py compares).
return {
  postgres = {
    up = [[
CREATE TABLE IF NOT EXISTS scim_drift_passes (
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	mapping TEXT COLLATE "C" NOT NULL,
	begun TEXT COLLATE "C" NOT NULL,
	progress TEXT COLLATE "C" NOT NULL,
	node TEXT COLLATE "C" NOT NULL,
	leased TEXT COLLATE "C" NOT NULL,
	ended TEXT COLLATE "C" NOT NULL,
	last TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (workspace, tenant)
);
CREATE TABLE IF NOT EXISTS scim_drifts (
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	user_id TEXT COLLATE "C" NOT NULL,
	kind TEXT COLLATE "C" NOT NULL,
	since TEXT COLLATE "C" NOT NULL,
	seen TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (workspace, tenant, user_id, kind)
);
    ]],
  },
}
