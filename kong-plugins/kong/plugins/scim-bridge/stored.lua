-- The configurations of the plugin `scim` as they are stored, which Kong goes by only some seconds later.

local clone = require "table.clone"
local deepcompare = require("pl.tablex").deepcompare
local uuid = require("kong.tools.uuid").uuid


local kong = kong


local PLUGIN = "scim"
local BETWEEN_LOOKS = 0.5 -- seconds
local FOR_EVER = { ttl = 0 }
local VERSION = "plugins_iterator:version" -- kong/runloop/plugins_iterator.lua
local SERIAL = "plugins_iterator:__seq__" -- in the shared dictionary `kong`, as there
local ADDED = { "route_id", "service_id", "consumer_id", "plugin_instance_name", "__plugin_id", "__ws_id",
                "__key__" } -- by the iterator
local DIGEST = [[
  SELECT md5(string_agg(id::text || enabled::text || config::text, ' ' ORDER BY id)) AS digest
    FROM plugins WHERE name = 'scim']]


local _M = {}


local known = { serial = 0, rows = {}, observed = false }


--- The rows of the enabled `scim` plugins, read again when any plugin changes.
function _M.rows()
  local version, err = kong.core_cache:get(VERSION, FOR_EVER, uuid)
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
    if version ~= known.version then -- still: another request may have been faster
      known = { version = version, rows = rows, serial = known.serial + 1, observed = observed }
    end
  end

  return known.rows, known.serial
end


--- Whether anybody may look at /metrics, as far as `rows` found.
function _M.observed()
  return known.observed
end


--- Whether a configuration says what a row says.
function _M.same(row, conf)
  for name, value in pairs(row.config) do
    if not deepcompare(value, conf[name]) then
      return false
    end
  end

  return true
end


--- A configuration of what a row says, for the plugin server to begin another instance.
function _M.made(row, conf)
  local new = clone(row.config)
  for _, added in ipairs(ADDED) do
    new[added] = conf[added]
  end
  new.__seq__ = ngx.shared.kong:incr(SERIAL, 1, 0)
  return new
end


local chosen = {}


--- The configuration as it is stored now, of one that Kong goes by.
-- Kong looks once in worker_state_update_frequency (5 s) whether it has to load its plugins again, and a
-- token that was taken away would count until then. Where nothing changed it stays the same table, also when
-- Kong has loaded all again: between two of them plugin_servers/plugin.lua loses an instance's id at times.
function _M.current(conf)
  local ok, rows, serial = pcall(_M.rows)
  if not ok then
    kong.log.err("the plugin's configuration could not be read: ", rows)
    return conf
  end

  local id = conf.__plugin_id
  local choice = chosen[id]
  if choice and choice.serial == serial then
    return choice.conf
  end

  for _, row in ipairs(rows) do
    if row.id == id then
      local now = choice and _M.same(row, choice.conf) and choice.conf
                  or _M.same(row, conf) and conf or _M.made(row, conf)
      chosen[id] = { serial = serial, conf = now }
      return now
    end
  end

  chosen[id] = nil
  return conf -- that is no more, and Kong will find out
end


local digest, failing


--- Sees whether a configuration was changed, at whatever node, which Kong asks once in db_update_frequency
-- (5 s); and has this node's workers load it.
local function look(premature)
  if premature then
    return
  end

  local rows, err = kong.db.connector:query(DIGEST, "read")
  if not rows then
    if not failing then -- else it were two lines a second
      kong.log.warn("whether a configuration of scim was changed could not be read: ", err)
    end
    failing = true
    return
  end

  local found = rows[1] and rows[1].digest or "none"
  if digest and found ~= digest then
    kong.core_cache:invalidate_local(VERSION)
  end
  digest, failing = found, false
end


function _M.init_worker()
  -- on a DB-less Kong all workers are given all at once, and a control plane serves nobody
  if ngx.worker.id() == 0 and kong.configuration.database ~= "off"
     and kong.configuration.role ~= "control_plane" then
    assert(ngx.timer.every(BETWEEN_LOOKS, look))
  end
end


return _M
