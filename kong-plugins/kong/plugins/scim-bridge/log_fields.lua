-- Gives the log plugins the SCIM user of a request.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"


local kong = kong


-- the plugins that have a log phase, and that write no field which another plugin sets
local WRITE_NO_FIELDS = {
  datadog = true,
  opentelemetry = true,
  prometheus = true,
  ["response-ratelimiting"] = true,
  scim = true,
  ["scim-bridge"] = true,
  statsd = true,
  zipkin = true,
}


local _M = {}


--- Tells whether one of these plugins may write the fields to a log.
function _M.is_written_by(plugins)
  for _, plugin in ipairs(plugins) do
    if plugin.handler.log and not WRITE_NO_FIELDS[plugin.name] then
      return true
    end
  end

  return false
end


local written = setmetatable({}, { __mode = "k" }) -- whether the fields are written, by the list of plugins


local function is_written()
  local plugins = internals.plugins()
  if not plugins then
    return true
  end

  if written[plugins] == nil then
    written[plugins] = _M.is_written_by(plugins)
  end
  return written[plugins]
end


local function get_groups(consumer_id)
  local groups, err = internals.acl_groups(consumer_id)
  if err then
    kong.log.warn("could not read the groups of a consumer: ", err)
  end

  return envelope.array(groups)
end


--- Sets the fields for the consumer of a request, if a log plugin of its workspace may write them.
-- @param state the state of a consumer that SCIM manages (tags.lua)
function _M.set(state)
  if is_written() then
    kong.log.set_serialize_value("scim", {
      user_id = state.user_id,
      tenant = state.tenant,
      groups = get_groups(state.id),
      last_event = state.last_event,
    })
  end
end


return _M
