-- The entity of a subject: how the tokens of an issuer name a person (kong_scim/sync/subjects.py). There is
-- one for each subject whose tokens are not all accepted. As an entity of Kong's it is in PostgreSQL, in the
-- memory of a DB-less Kong, and in the configuration that a control plane sends to its data planes.

local typedefs = require "kong.db.schema.typedefs"


return {
  {
    name = "scim_subjects",
    primary_key = { "id" },
    cache_key = { "subject" },
    workspaceable = true,
    generate_admin_api = false,
    fields = {
      { id = typedefs.uuid },
      { created_at = typedefs.auto_timestamp_s },
      { subject = { type = "string", required = true, unique = true } },
      { tenant = { type = "string", required = true } },
      { user = { type = "string", required = true } },
      -- tokens that were issued by this second are refused
      { not_before = { type = "integer", required = true } },
      { changed_at = { type = "integer", required = true } }, -- in milliseconds
    },
  },
}
