-- Calls of the plugin server without a request of an identity provider.

local uuid = require("kong.tools.uuid").uuid


local kong = kong


local PLUGIN = "scim"
local FOR_EVER = { ttl = 0 }


local _M = {}


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


--- Calls a method of a plugin's instance: any name will do as an event's (mp_rpc.lua).
-- The instance is one of its own: Kong would start that of the route anew each time, because the two
-- configurations are not one table (plugin_servers/plugin.lua).
function _M.call(row, method)
  local ok, plugin = require("kong.runloop.plugin_servers").load_plugin(PLUGIN)
  if not ok then
    return error(plugin)
  end

  local conf = { __plugin_id = row.id .. ":" .. method, __seq__ = known.serial }
  for name, value in pairs(row.config) do
    conf[name] = value
  end

  ngx.ctx.plugin_id = conf.__plugin_id
  ngx.ctx.workspace = row.ws_id
  plugin.rpc:handle_event(conf, method)
end


return _M
