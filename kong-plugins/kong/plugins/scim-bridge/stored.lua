-- The configurations of the plugin `scim` as they are stored, which Kong goes by only some seconds later;
-- and whether the guard, the plugin `scim-bridge`, is on everywhere.

local clone = require "table.clone"
local deepcompare = require("pl.tablex").deepcompare
local uuid = require("kong.tools.uuid").uuid


local kong = kong


local PLUGIN, GUARD = "scim", "scim-bridge"
local BETWEEN_LOOKS = 0.5 -- seconds
local FOR_EVER = { ttl = 0 }
local VERSION = "plugins_iterator:version" -- kong/runloop/plugins_iterator.lua
local SERIAL = "plugins_iterator:__seq__" -- in the shared dictionary `kong`, as there
local ADDED = { "route_id", "service_id", "consumer_id", "plugin_instance_name", "__plugin_id", "__ws_id",
                "__key__" } -- by the iterator
local DIGEST = [[
  SELECT md5(string_agg(CONCAT_WS(' ', id, enabled, config, route_id, service_id, consumer_id), ' '
                        ORDER BY id)) AS digest
    FROM plugins WHERE name IN ('scim', 'scim-bridge')]]


local _M = {}


local known = { serial = 0, rows = {}, observed = false, guarded = {} }


--- Whether a row of a plugin is for every route of its workspace.
local function is_global(row)
  return not (row.route or row.service or row.consumer or row.consumer_group)
end


--- The rows of the enabled `scim` plugins, read again when any plugin changes.
function _M.rows()
  local version, err = kong.core_cache:get(VERSION, FOR_EVER, uuid)
  if not version then
    error(err)
  end

  if version ~= known.version then
    local rows, observed, guarded = {}, false, {}
    for row, each_err in kong.db.plugins:each(1000, { workspace = ngx.null, show_ws_id = true }) do
      if each_err then
        error(each_err)
      elseif row.name == PLUGIN and row.enabled then
        table.insert(rows, row)
      elseif row.name == GUARD and row.enabled and is_global(row) then
        guarded[row.ws_id or kong.default_workspace] = true
      end
      observed = observed or row.name == "prometheus" and row.enabled
    end
    if version ~= known.version then -- still: another request may have been faster
      known = {
        version = version,
        rows = rows,
        serial = known.serial + 1,
        observed = observed,
        guarded = guarded,
      }
    end
  end

  return known.rows, known.serial
end


--- Whether anybody may look at /metrics, as far as `rows` found.
function _M.observed()
  return known.observed
end


local configured = {} -- by workspace: whether this worker runs the guard on every route


--- Takes note of the configurations of the guard that this worker goes by from now on.
-- @param configurations those of all enabled instances, or nil for none
function _M.configured(configurations)
  configured = {}
  for _, conf in ipairs(configurations or {}) do
    if not (conf.route_id or conf.service_id or conf.consumer_id or conf.consumer_group_id) then
      configured[conf.__ws_id or kong.default_workspace] = true
    end
  end
end


--- Whether the guard is on for every route of a workspace: by what is stored now, and by what this worker
-- goes by. The one is sooner when it is turned off, the other later when it is turned on.
function _M.is_guarded(workspace)
  local ok, err = pcall(_M.rows)
  if not ok then
    kong.log.err("whether the guard is on could not be read: ", err)
  end

  return known.guarded[workspace] == true and configured[workspace] == true
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
