local typedefs = require "kong.db.schema.typedefs"


return {
  name = "scim-bridge",
  fields = {
    { consumer = typedefs.no_consumer },
    { protocols = typedefs.protocols_http },
    { config = { type = "record", fields = {
      { unknown_logins = {
          type = "string",
          required = true,
          default = "allow",
          one_of = { "allow", "refuse" },
          description = "What becomes of a login without a consumer (by ldap-auth, say) whose name no " ..
                        "consumer has.",
      } },
      { hide_identity_headers = {
          type = "boolean",
          required = true,
          default = false,
          description = "Take off what a client sends of the headers that tell an upstream who calls, " ..
                        "such as X-Consumer-Username, in every spelling. For a scim-bridge that is " ..
                        "global; not for a gateway behind another one that sets them.",
      } },
    } } },
  },
}
