-- Routes of the Admin API for credentials of SCIM's consumers on a DB-less Kong, where Kong's own routes
-- create nothing:
--   POST   /scim-bridge/consumers/{username or id}/{key-auth, jwt, ...}        like Kong's without the prefix
--   DELETE /scim-bridge/consumers/{username or id}/{key-auth, jwt, ...}/{id}
-- The plugin server stores the credentials, and writes them into Kong again after a restart.

local consumer_credentials = require "kong.plugins.scim-bridge.consumer_credentials"
local envelope = require "kong.plugins.scim-bridge.envelope"
local instances = require "kong.plugins.scim-bridge.instances"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local owned_entities = require "kong.plugins.scim-bridge.owned_entities"
local tags = require "kong.plugins.scim-bridge.tags"
local live_config = require "kong.plugins.scim-bridge.live_config"
local tick = require "kong.plugins.scim-bridge.tick"


local kong = kong


local STATUS = { [2] = 400, [3] = 409, [4] = 400, [5] = 409, [6] = 404 } -- kong/api/endpoints.lua


local function refuse(status, message)
  return kong.response.exit(status, { message = message })
end


--- Refuses a request with text that neither Kong's database nor the plugin server's can store.
local function refuse_broken_text(value)
  if type(value) == "table" then
    for name, each in pairs(value) do
      refuse_broken_text(name)
      refuse_broken_text(each)
    end
  elseif type(value) == "string" and (value:find("\0", 1, true) or not envelope.is_utf8(value)) then
    return refuse(400, "A name or a value has a NUL character, or is not UTF-8: send text")
  end
end


local function consumer_of(name)
  local consumers = kong.db.consumers
  return internals.is_valid_uuid(name) and consumers:select({ id = name })
         or consumers:select_by_username(name) or refuse(404, "Not found")
end


local function dao_of(path)
  for _, kind in ipairs(consumer_credentials.kinds(kong.db)) do
    local schema = kind.dao.schema
    if path == (schema.admin_api_nested_name or schema.name) then
      return kind.dao
    end
  end

  return refuse(404, "Not found")
end


--- Returns the plugin whose tenant owns a consumer, or refuses the request.
local function plugin_of(consumer)
  local is_owned = owned_entities.is_owned("consumers", consumer.id)
  for _, row in ipairs(is_owned and live_config.rows() or {}) do
    if tags.has(consumer, tags.of_tenant(row.config.tenant)) then
      return row
    end
  end

  return refuse(409, "SCIM did not create this consumer: declare its credentials where it is declared")
end


--- Has the plugin server store and commit a change of one credential, and answers like the Admin API.
local function change(self, step, status, body)
  local row = plugin_of(self.consumer)
  ngx.ctx.scim_admin_request = {
    step = step,
    user = tags.read(self.consumer).user_id or self.consumer.id,
    address = ngx.var.remote_addr,
    request_id = internals.request_id(),
  }
  instances.call(row, "credential")

  local answer = ngx.ctx.scim_admin_answer
  if not answer then
    return refuse(503, "The SCIM plugin server does not answer")
  elseif answer.message then
    return kong.response.exit(STATUS[answer.code] or 503, answer)
  end

  tick.request()
  return kong.response.exit(status, body)
end


local function before(self)
  if internals.has_database() then
    return refuse(405, "This Kong has a database: use /consumers/{consumer}/{credential}")
  end

  refuse_broken_text(self.params)
  self.consumer = consumer_of(self.params.consumers)
  self.dao = dao_of(self.params.credential)
end


return {
  ["/scim-bridge/consumers/:consumers/:credential"] = {
    before = before,
    POST = function(self)
      local schema, fields = self.dao.schema, {}
      for name, value in pairs(self.params) do
        -- a time to live is no field of the schema (kong/db/schema/init.lua)
        fields[name] = (schema.fields[name] or schema.ttl and name == "ttl") and value or nil
      end
      fields.consumer = { id = self.consumer.id }

      if schema:has_transformations(fields) then
        return refuse(400, "A secret of this kind is stored as a hash, which cannot be given again: " ..
                           "use another kind")
      end

      local entity = schema:process_auto_fields(fields, "insert")
      local ok, errors = schema:validate_insert(entity, fields)
      if not ok then
        local err_t = self.dao.errors:schema_violation(errors)
        return kong.response.exit(400, err_t)
      end

      if self.dao:select({ id = entity.id }) then -- the step would replace the credential of any consumer
        return kong.response.exit(409, self.dao.errors:primary_key_violation({ id = entity.id }))
      end

      return change(self, { op = "upsert", dao = schema.name, entity = entity }, 201, entity)
    end,
  },

  ["/scim-bridge/consumers/:consumers/:credential/:id"] = {
    before = before,
    DELETE = function(self)
      local credential = internals.is_valid_uuid(self.params.id) and self.dao:select({ id = self.params.id })
      if not credential or credential.consumer.id ~= self.consumer.id then
        return kong.response.exit(204)
      end

      return change(self, { op = "delete", dao = self.dao.schema.name, id = credential.id }, 204)
    end,
  },
}
