-- The outbox of events, as printed by
-- `python -m kong_scim.directory.ddl --dialect postgresql --migration 001_outbox`
-- (tests/bridge/test_databases.py compares).
return {
  postgres = {
    up = [[
CREATE TABLE IF NOT EXISTS scim_outbox (
	position BIGSERIAL NOT NULL,
	id TEXT COLLATE "C" NOT NULL,
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	resource_type TEXT COLLATE "C" NOT NULL,
	resource_id TEXT COLLATE "C" NOT NULL,
	version_before BIGINT,
	version_after BIGINT,
	created TEXT COLLATE "C" NOT NULL,
	doc TEXT COLLATE "C" NOT NULL,
	written TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (position)
);
CREATE INDEX IF NOT EXISTS scim_outbox_order ON scim_outbox (workspace, tenant, position);
    ]],
  },
}
