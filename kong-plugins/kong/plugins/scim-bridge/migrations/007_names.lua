-- Names in Kong that SCIM holds, what counts for the quarantine beside people, and secrets of tenants, as printed by
-- `python -m kong_scim.directory.ddl --dialect postgresql --migration 007_names`
-- (tests/bridge/test_databases.py compares).
return {
  postgres = {
    up = [[
CREATE TABLE IF NOT EXISTS scim_losses (
	id TEXT COLLATE "C" NOT NULL,
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	resource_id TEXT COLLATE "C" NOT NULL,
	state TEXT COLLATE "C" NOT NULL,
	memberships BIGINT NOT NULL,
	at TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS scim_losses_order ON scim_losses (workspace, tenant, state, at);
CREATE TABLE IF NOT EXISTS scim_secrets (
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	name TEXT COLLATE "C" NOT NULL,
	value TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (workspace, tenant, name)
);
CREATE TABLE IF NOT EXISTS scim_acl_groups (
	group_id TEXT COLLATE "C" NOT NULL,
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	name TEXT COLLATE "C" NOT NULL,
	key TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (group_id),
	FOREIGN KEY(group_id) REFERENCES scim_resources (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS scim_acl_groups_key ON scim_acl_groups (workspace, key);
CREATE TABLE IF NOT EXISTS scim_consumer_names (
	workspace TEXT COLLATE "C" NOT NULL,
	kind TEXT COLLATE "C" NOT NULL,
	key TEXT COLLATE "C" NOT NULL,
	resource_id TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (workspace, kind, key),
	FOREIGN KEY(resource_id) REFERENCES scim_resources (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS scim_consumer_names_resource ON scim_consumer_names (resource_id);
    ]],
  },
}
