local typedefs = require "kong.db.schema.typedefs"


local function reference(name, on_delete)
  return { type = "foreign", required = true, reference = name, on_delete = on_delete }
end


return {
  {
    name = "consumer_groups",
    primary_key = { "id" },
    endpoint_key = "name",
    workspaceable = true,
    fields = {
      { id = typedefs.uuid },
      { created_at = typedefs.auto_timestamp_s },
      { updated_at = typedefs.auto_timestamp_s },
      { name = { type = "string", required = true, unique = true } },
      { tags = typedefs.tags },
    },
  },
  {
    name = "consumer_group_consumers",
    primary_key = { "consumer_group", "consumer" },
    cache_key = { "consumer_group", "consumer" },
    generate_admin_api = false,
    fields = {
      { created_at = typedefs.auto_timestamp_s },
      { updated_at = typedefs.auto_timestamp_s },
      { consumer_group = reference("consumer_groups", "cascade") },
      { consumer = reference("consumers", "cascade") },
    },
  },
  -- what can hang on a group: in Enterprise, a plugin
  {
    name = "consumer_group_plugins",
    primary_key = { "id" },
    workspaceable = true,
    fields = {
      { id = typedefs.uuid },
      { created_at = typedefs.auto_timestamp_s },
      { consumer_group = reference("consumer_groups", "cascade") },
      { name = { type = "string", required = true } },
    },
  },
}
