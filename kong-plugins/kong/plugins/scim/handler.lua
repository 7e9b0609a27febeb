--- The Lua face of the Python plugin `scim`: what it does is in kong-plugins/scim.py.
--
-- Kong finds this handler before it asks the plugin server, for two reasons:
--   * `kong config parse` and `kong config db_import` of Kong 3.9 crash on any plugin that only a
--     plugin server knows (kong/runloop/plugin_servers/init.lua captures `kong` before the command
--     line has set it). With this file and schema.lua they work, and need no plugin server.
--   * Kong fails open where a plugin server is gone: it logs and goes on. Here the request ends,
--     as a SCIM error that says what happened.

local cjson = require "cjson.safe"
local body = require "kong.plugins.scim-bridge.body"
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
  PRIORITY = 755, -- after every guard of the route, before plugins that answer (aws-lambda, 750)
  VERSION = "0.1.0",
}


local function serve(conf)
  local plugin = instances.plugin()
  body.await(live_config.current(conf))
  plugin:access(live_config.current(conf)) -- again: a body takes its time
end


function ScimHandler:access(conf)
  -- an answered request never comes back from here: kong.response.exit ends its coroutine
  local ok, err = pcall(serve, conf)
  if not ok then
    kong.log.err("the plugin server of scim: ", err)
  end

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
    tick.request() -- its events are sealed and sent at once, and the client does not wait for that
  end
end


return ScimHandler
