-- Deliveries of events to webhooks, and every attempt, as printed by
-- `python -m kong_scim.directory.ddl --dialect postgresql --migration 003_deliveries`
-- (tests/bridge/test_databases.py compares).
return {
  postgres = {
    up = [[
CREATE TABLE IF NOT EXISTS scim_deliveries (
	number BIGSERIAL NOT NULL,
	workspace TEXT COLLATE "C" NOT NULL,
	tenant TEXT COLLATE "C" NOT NULL,
	target TEXT COLLATE "C" NOT NULL,
	event_id TEXT COLLATE "C" NOT NULL,
	resource_id TEXT COLLATE "C" NOT NULL,
	state TEXT COLLATE "C" NOT NULL,
	attempts INTEGER NOT NULL,
	created TEXT COLLATE "C" NOT NULL,
	due TEXT COLLATE "C" NOT NULL,
	leased TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (number),
	FOREIGN KEY(event_id) REFERENCES scim_resources (id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS scim_deliveries_event ON scim_deliveries (event_id);
CREATE INDEX IF NOT EXISTS scim_deliveries_order ON scim_deliveries (workspace, tenant, target, number) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS scim_deliveries_pending ON scim_deliveries (workspace, tenant, target, resource_id, number) WHERE state = 'pending';
CREATE TABLE IF NOT EXISTS scim_attempts (
	number BIGSERIAL NOT NULL,
	delivery BIGINT NOT NULL,
	at TEXT COLLATE "C" NOT NULL,
	status INTEGER NOT NULL,
	milliseconds INTEGER NOT NULL,
	error TEXT COLLATE "C" NOT NULL,
	answer TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (number),
	FOREIGN KEY(delivery) REFERENCES scim_deliveries (number) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS scim_attempts_delivery ON scim_attempts (delivery, number);
    ]],
  },
}
