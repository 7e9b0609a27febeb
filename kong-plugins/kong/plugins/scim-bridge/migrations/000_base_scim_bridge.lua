-- The tables of resources, as printed by
-- `python -m kong_scim.directory.ddl --dialect postgresql --migration 000_base_scim_bridge`
-- (tests/bridge/test_databases.py compares).
return {
  postgres = {
    up = [[
CREATE TABLE IF NOT EXISTS scim_resources (
	id TEXT COLLATE "C" NOT NULL,
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	type TEXT COLLATE "C" NOT NULL,
	version BIGINT NOT NULL,
	display TEXT COLLATE "C",
	display_key TEXT COLLATE "C",
	doc TEXT COLLATE "C" NOT NULL,
	created TEXT COLLATE "C" NOT NULL,
	modified TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS scim_resources_order ON scim_resources (workspace, tenant, type, created, id);
CREATE TABLE IF NOT EXISTS scim_tenants (
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	graph_version BIGINT DEFAULT '0' NOT NULL,
	PRIMARY KEY (workspace, tenant)
);
CREATE TABLE IF NOT EXISTS scim_members (
	group_id TEXT COLLATE "C" NOT NULL,
	member_id TEXT COLLATE "C" NOT NULL,
	member_type TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (group_id, member_id),
	FOREIGN KEY(group_id) REFERENCES scim_resources (id) ON DELETE CASCADE,
	FOREIGN KEY(member_id) REFERENCES scim_resources (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS scim_members_member ON scim_members (member_id, group_id);
CREATE INDEX IF NOT EXISTS scim_members_nested ON scim_members (group_id, member_id) WHERE member_type = 'Group';
CREATE TABLE IF NOT EXISTS scim_unique (
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	attr TEXT COLLATE "C" NOT NULL,
	digest TEXT COLLATE "C" NOT NULL,
	resource_id TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (workspace, tenant, attr, digest),
	FOREIGN KEY(resource_id) REFERENCES scim_resources (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS scim_unique_resource ON scim_unique (resource_id);
CREATE TABLE IF NOT EXISTS scim_values (
	resource_id TEXT COLLATE "C" NOT NULL,
	attr TEXT COLLATE "C" NOT NULL,
	entry INTEGER NOT NULL,
	item INTEGER NOT NULL,
	val TEXT COLLATE "C",
	head TEXT COLLATE "C",
	num DOUBLE PRECISION,
	sorts INTEGER NOT NULL,
	PRIMARY KEY (resource_id, attr, entry, item),
	FOREIGN KEY(resource_id) REFERENCES scim_resources (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS scim_values_head ON scim_values (attr, head, resource_id, entry) WHERE head IS NOT NULL;
CREATE INDEX IF NOT EXISTS scim_values_num ON scim_values (attr, num, resource_id, entry) WHERE num IS NOT NULL;
    ]],
  },
}
