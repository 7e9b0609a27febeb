-- When tokens were last used, and which expiry was warned of, as printed by
-- `python -m kong_scim.directory.ddl --dialect postgresql --migration 005_callers`
-- (tests/bridge/test_databases.py compares).
return {
  postgres = {
    up = [[
CREATE TABLE IF NOT EXISTS scim_callers (
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	name TEXT COLLATE "C" NOT NULL,
	last_used TEXT COLLATE "C" NOT NULL,
	warned TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (workspace, tenant, name)
);
    ]],
  },
}
