return {
  postgres = {
    up = [[
      CREATE TABLE IF NOT EXISTS consumer_groups (
        id UUID PRIMARY KEY,
        created_at TIMESTAMP WITH TIME ZONE,
        updated_at TIMESTAMP WITH TIME ZONE,
        name TEXT,
        tags TEXT[],
        ws_id UUID REFERENCES workspaces (id),
        UNIQUE (id, ws_id),
        UNIQUE (ws_id, name)
      );
      CREATE TABLE IF NOT EXISTS consumer_group_consumers (
        created_at TIMESTAMP WITH TIME ZONE,
        updated_at TIMESTAMP WITH TIME ZONE,
        consumer_group_id UUID REFERENCES consumer_groups (id) ON DELETE CASCADE,
        consumer_id UUID REFERENCES consumers (id) ON DELETE CASCADE,
        cache_key TEXT,
        PRIMARY KEY (consumer_group_id, consumer_id)
      );
      CREATE INDEX IF NOT EXISTS consumer_group_consumers_consumer ON consumer_group_consumers (consumer_id);
      CREATE TABLE IF NOT EXISTS consumer_group_plugins (
        id UUID PRIMARY KEY,
        created_at TIMESTAMP WITH TIME ZONE,
        consumer_group_id UUID REFERENCES consumer_groups (id) ON DELETE CASCADE,
        name TEXT,
        ws_id UUID REFERENCES workspaces (id)
      );
    ]],
  },
}
