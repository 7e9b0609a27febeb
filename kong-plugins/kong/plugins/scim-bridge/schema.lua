local typedefs = require "kong.db.schema.typedefs"


local function list(description, elements)
  return { type = "array", required = true, default = {}, len_max = 16, elements = elements,
           description = description }
end


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
      { claims = list("Plugins whose verified claims name people (`subjects` of `scim`): `jwt` (Kong's " ..
                      "own), `jwt-keycloak`, `kong-oidc`, `openid-connect`. What a client sends of the " ..
                      "headers in which the last two put claims is removed.",
                      { type = "string",
                        one_of = { "jwt", "jwt-keycloak", "kong-oidc", "openid-connect" } }) },
      { claims_headers = list("Further headers in which a plugin puts verified claims, as a JWT or as " ..
                              "JSON, also in base64. What a client sends of them is removed.",
                              typedefs.header_name) },
      { claims_context = list("Further keys of kong.ctx.shared under which a plugin puts verified claims.",
                              { type = "string" }) },
      { claims_issuer = {
          type = "string",
          description = "The issuer of claims without `iss`, such as those of a userinfo endpoint.",
      } },
    } } },
  },
}
