-- Calls of the plugin server without a request of an identity provider.

local internals = require "kong.plugins.scim-bridge.kong_internals"
local live_config = require "kong.plugins.scim-bridge.live_config"


local kong = kong


local PLUGIN = "scim"


local _M = {}


--- The plugin as its plugin server describes it.
function _M.plugin()
  return internals.load_plugin(PLUGIN)
end


--- Whether somebody listens at a socket again, without the line that Nginx logs where nobody does. Without
-- LuaSocket, which comes with Kong, it is as if somebody did.
local function is_back(path)
  local ok, unix = pcall(require, "socket.unix")
  if not ok then
    return true
  end

  local socket = (type(unix) == "table" and unix.stream or unix)()
  socket:settimeout(0)
  local connected = socket:connect(path)
  socket:close()
  return connected
end


local away = false


--- Whether the plugin server listens. That it does not is said once, and not each time, as Kong says it.
function _M.listens()
  local path = _M.plugin().server_def.socket
  if away and not is_back(path) then
    return false
  end

  local socket, err = ngx.socket.connect("unix:" .. path) -- as mp_rpc.lua does
  if socket then
    socket:setkeepalive() -- for the call that comes
    if away then
      kong.log.notice("the plugin server of scim is back")
    end
  elseif not away then
    kong.log.err("the plugin server of scim does not listen: ", err, "; nothing is said until it is back")
  end

  away = not socket
  return not away
end


local called = {}


--- Calls a method of a plugin's instance: any name will do as an event's (mp_rpc.lua).
-- The instance is one of its own: Kong would start that of the route anew each time, because the two
-- configurations are not one table (plugin_servers/plugin.lua).
function _M.call(row, method)
  local id = row.id .. ":" .. method
  local conf = called[id]
  if not conf or not live_config.is_same(row, conf) then
    conf = live_config.new_conf(row, { __plugin_id = id })
    called[id] = conf
  end

  internals.set_plugin(id)
  internals.set_workspace(row.ws_id)
  _M.plugin().rpc:handle_event(conf, method)
end


return _M
