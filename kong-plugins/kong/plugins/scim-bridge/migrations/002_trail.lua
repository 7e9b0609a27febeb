-- The ends of the audit trail, as printed by
-- `python -m kong_scim.directory.ddl --dialect postgresql --migration 002_trail`
-- (tests/bridge/test_databases.py compares).
return {
  postgres = {
    up = [[
CREATE TABLE IF NOT EXISTS scim_chains (
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	length BIGINT NOT NULL,
	hash TEXT COLLATE "C" NOT NULL,
	first BIGINT NOT NULL,
	first_hash TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (workspace, tenant)
);
    ]],
  },
}
