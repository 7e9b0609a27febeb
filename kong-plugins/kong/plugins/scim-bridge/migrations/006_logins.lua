-- For logins.lua, which looks for the consumer of a name in whatever case. Kong's own tables have such an
-- index for usernames.
return {
  postgres = {
    up = [[
      CREATE INDEX IF NOT EXISTS scim_consumers_custom_id_idx ON consumers (LOWER(custom_id));
    ]],
  },
}
