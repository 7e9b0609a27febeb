-- Calls of the plugin server without a request of an identity provider.

local uuid = require("kong.tools.uuid").uuid


local kong = kong


local PLUGIN = "scim"
local FOR_EVER = { ttl = 0 }


local _M = {}


--- The plugin as its plugin server describes it.
function _M.plugin()
  -- not at the top: this module is also loaded by the command line, where that one breaks
  local ok, plugin = require("kong.runloop.plugin_servers").load_plugin(PLUGIN)
  return ok and plugin or error(plugin)
end


local known = { serial = 0, rows = {}, observed = false }


--- The rows of the enabled `scim` plugins, read again when any plugin changes.
function _M.rows()
  local version, err = kong.core_cache:get("plugins_iterator:version", FOR_EVER, uuid) -- plugins_iterator.lua
  if not version then
    error(err)
  end

  if version ~= known.version then
    local rows, observed = {}, false
    for row, each_err in kong.db.plugins:each(1000, { workspace = ngx.null, show_ws_id = true }) do
      if each_err then
        error(each_err)
      elseif row.name == PLUGIN and row.enabled then
        table.insert(rows, row)
      end
      observed = observed or row.name == "prometheus" and row.enabled
    end
    known = { version = version, rows = rows, serial = known.serial + 1, observed = observed }
  end

  return known.rows, known.serial
end


--- Whether anybody may look at /metrics, as far as `rows` found.
function _M.observed()
  return known.observed
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


--- Calls a method of a plugin's instance: any name will do as an event's (mp_rpc.lua).
-- The instance is one of its own: Kong would start that of the route anew each time, because the two
-- configurations are not one table (plugin_servers/plugin.lua).
function _M.call(row, method)
  local conf = { __plugin_id = row.id .. ":" .. method, __seq__ = known.serial }
  for name, value in pairs(row.config) do
    conf[name] = value
  end

  ngx.ctx.plugin_id = conf.__plugin_id
  ngx.ctx.workspace = row.ws_id
  _M.plugin().rpc:handle_event(conf, method)
end


return _M
