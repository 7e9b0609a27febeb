-- The handler of the plugin scim-bridge. It makes the functions kong.scim.*, which the plugin server calls,
-- and runs the guard.

local body = require "kong.plugins.scim-bridge.body"
local caches = require "kong.plugins.scim-bridge.caches"
local commit = require "kong.plugins.scim-bridge.commit"
local control_plane = require "kong.plugins.scim-bridge.control_plane"
local credentials = require "kong.plugins.scim-bridge.credentials"
local data_plane = require "kong.plugins.scim-bridge.data_plane"
local diagnose = require "kong.plugins.scim-bridge.diagnosis"
local drift = require "kong.plugins.scim-bridge.drift"
local envelope = require "kong.plugins.scim-bridge.envelope"
local first_message = require "kong.plugins.scim-bridge.first_message"
local guard = require "kong.plugins.scim-bridge.guard"
local identity = require "kong.plugins.scim-bridge.identity"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local logins = require "kong.plugins.scim-bridge.logins"
local metrics = require "kong.plugins.scim-bridge.metrics"
local node = require "kong.plugins.scim-bridge.node"
local parts = require "kong.plugins.scim-bridge.parts"
local query = require "kong.plugins.scim-bridge.query"
local review = require "kong.plugins.scim-bridge.review"
local live_config = require "kong.plugins.scim-bridge.live_config"
local subjects = require "kong.plugins.scim-bridge.subjects"
local tick = require "kong.plugins.scim-bridge.tick"


local kong = kong


--- kong.scim.exit logs a line, and ends the request.
local function exit(status, body, headers, line)
  kong.log.notice(line)
  return kong.response.exit(status, body, headers)
end


local ScimBridgeHandler = {
  PRIORITY = 960, -- after authentication (1000 and above), before acl (950)
  VERSION = "0.1.0",
}


--- Returns a function of kong.scim that reads or writes the gateway's data. A data plane has none of its own.
local function on_control_plane(name, fn)
  return data_plane.elsewhere(name) or envelope.wrap(fn)
end


function ScimBridgeHandler:init_worker()
  -- the plugin server finds methods by name on the global table (plugin_servers/rpc/mp_rpc.lua)
  kong.scim = {
    begin = envelope.wrap(first_message.begin),
    body = envelope.wrap(body.piece),
    wake = envelope.wrap(node.wake),
    answer_admin_request = envelope.wrap(node.answer_admin_request),
    query = on_control_plane("query", query),
    drift = on_control_plane("drift", drift),
    review = on_control_plane("review", review),
    commit = on_control_plane("commit", commit),
    credentials = on_control_plane("credentials", credentials),
    request_tick = envelope.wrap(tick.request_tick),
    report = envelope.wrap(metrics.report),
    diagnose = envelope.wrap(diagnose),
    part = parts.part,
    exit = exit,
  }

  internals.init_worker()
  metrics.init_worker()
  caches.init_worker()
  logins.init_worker()
  live_config.init_worker()
  subjects.init_worker()
  tick.init_worker()
  control_plane.init_worker()
  data_plane.init_worker()
end


--- Kong calls this when this worker begins to use these configurations (runloop/plugins_iterator.lua).
function ScimBridgeHandler:configure(configurations)
  live_config.configured(configurations)
end


ScimBridgeHandler.rewrite = identity.rewrite


function ScimBridgeHandler:access(conf)
  identity.check(conf)
  return guard.access(self, conf)
end


return ScimBridgeHandler
