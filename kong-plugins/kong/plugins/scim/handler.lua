--- The handler of the Python plugin `scim` in Kong. It calls the plugin, which is in kong-plugins/scim.py.
--
-- Kong finds this handler before it asks the plugin server. It is here for two reasons:
--   * `kong config parse` and `kong config db_import` of Kong 3.9 crash on any plugin that only a
--     plugin server knows (kong/runloop/plugin_servers/init.lua captures `kong` before the command
--     line has set it). With this file and schema.lua they work, and need no plugin server.
--   * Kong fails open if a plugin server does not answer: it logs that and passes the request on.
--     This handler ends the request with a SCIM error.

local cjson = require "cjson.safe"
local body = require "kong.plugins.scim-bridge.body"
local first_message = require "kong.plugins.scim-bridge.first_message"
local instances = require "kong.plugins.scim-bridge.instances"
local metrics = require "kong.plugins.scim-bridge.metrics"
local live_config = require "kong.plugins.scim-bridge.live_config"
local tick = require "kong.plugins.scim-bridge.tick"


local kong = kong


local UNAVAILABLE = cjson.encode({
  schemas = { "urn:ietf:params:scim:api:messages:2.0:Error" },
  status = "503",
  detail = "The SCIM plugin server does not answer: see that it runs and that " ..
           "KONG_PLUGINSERVER_SCIM_SOCKET names its socket",
})

local HEADERS = {
  ["Content-Type"] = "application/scim+json",
  ["Retry-After"] = "5",
}


local WRITES = { POST = true, PUT = true, PATCH = true, DELETE = true }
local READS = { "/%.search/?$", "/Events/poll/?$" } -- by POST


local ScimHandler = {
  PRIORITY = 755, -- after plugins that may refuse a request, before those that answer it (aws-lambda, 750)
  VERSION = "0.1.0",
}


local function serve(conf)
  local plugin = instances.plugin()
  body.await(live_config.current(conf))
  conf = live_config.current(conf) -- read again, since it may have changed while a body was sent
  plugin.rpc:handle_event(conf, first_message.name(conf)) -- as the plugin's method `access` (plugin.lua)
end


function ScimHandler:access(conf)
  -- this does not return for an answered request, because kong.response.exit ends its coroutine
  local ok, err = pcall(serve, conf)
  if not ok then
    kong.log.err("the plugin server of scim: ", err)
  end

  first_message.forget()
  return kong.response.exit(503, UNAVAILABLE, HEADERS)
end


local function is_write()
  if not WRITES[kong.request.get_method()] or ngx.status >= 300 then
    return false
  end

  local path = kong.request.get_path()
  for _, pattern in ipairs(READS) do
    if path:find(pattern) then
      return false
    end
  end

  return true
end


function ScimHandler:log(conf)
  metrics.request(conf.tenant)
  if is_write() then
    tick.request() -- seals and sends the events of the write now; the client has its answer already
  end
end


return ScimHandler
