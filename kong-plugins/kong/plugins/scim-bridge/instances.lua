-- Calls the plugin server without a request of an identity provider.

local internals = require "kong.plugins.scim-bridge.kong_internals"
local live_config = require "kong.plugins.scim-bridge.live_config"


local kong = kong


local PLUGIN = "scim"


local _M = {}


--- Returns the plugin `scim` as its plugin server describes it.
function _M.plugin()
  return internals.load_plugin(PLUGIN)
end


--- Tells whether a server listens at a socket again. Unlike Nginx's sockets, it logs nothing if none does.
-- Without LuaSocket, which comes with Kong, the answer is always yes.
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


--- Tells whether the plugin server listens. Unlike Kong, it logs once that it does not, and not each time.
function _M.listens()
  local path = _M.plugin().server_def.socket
  if away and not is_back(path) then
    return false
  end

  local socket, err = ngx.socket.connect("unix:" .. path) -- as mp_rpc.lua does
  if socket then
    socket:setkeepalive() -- for the next call
    if away then
      kong.log.notice("the plugin server of scim is back")
    end
  elseif not away then
    kong.log.err("the plugin server of scim does not listen: ", err, "; nothing is said until it is back")
  end

  away = not socket
  return not away
end


local confs = {} -- the last configuration, by plugin and method


--- Calls a method of a plugin's instance. Kong sends the method as an event, whose name is not checked
-- (mp_rpc.lua). It is another instance than that of the route, which Kong would otherwise start again each
-- time, because the two configurations are not the same table (plugin_servers/plugin.lua).
function _M.call(row, method)
  local id = row.id .. ":" .. method
  local conf = confs[id]
  if not conf or not live_config.is_same(row, conf) then
    conf = live_config.new_conf(row, { __plugin_id = id })
    confs[id] = conf
  end

  internals.set_plugin(id)
  internals.set_workspace(row.ws_id)
  _M.plugin().rpc:handle_event(conf, method)
end


return _M
