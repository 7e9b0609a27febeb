-- The live configurations of the plugin `scim`: those that are stored now, which Kong itself uses only some
-- seconds later. It also knows whether the guard, the plugin `scim-bridge`, is on for every route.

local clone = require "table.clone"
local deepcompare = require("pl.tablex").deepcompare
local internals = require "kong.plugins.scim-bridge.kong_internals"
local postgres = require "kong.plugins.scim-bridge.postgres"


local kong = kong


local PLUGIN, GUARD = "scim", "scim-bridge"
local POLL_INTERVAL = 0.5 -- seconds


local _M = {}


local known = { serial = 0, rows = {}, observed = false, guarded = {} }


--- Whether a row of a plugin is for every route of its workspace.
local function is_global(row)
  return not (row.route or row.service or row.consumer or row.consumer_group)
end


--- The rows of the enabled `scim` plugins, read again when any plugin changes.
function _M.rows()
  local version, err = internals.plugins_version()
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


--- Whether the prometheus plugin is enabled, as of the last call of `rows`.
function _M.observed()
  return known.observed
end


local configured = {} -- whether this worker runs the guard on every route, by workspace


--- Takes the configurations of the guard that this worker uses from now on.
-- @param configurations those of all enabled instances, or nil for none
function _M.configured(configurations)
  configured = {}
  for _, conf in ipairs(configurations or {}) do
    if not (conf.route_id or conf.service_id or conf.consumer_id or conf.consumer_group_id) then
      configured[conf.__ws_id or kong.default_workspace] = true
    end
  end
end


--- Whether the guard is on for every route of a workspace, both as stored now and in this worker: the store
-- is first to say that it is off, and the worker is last to say that it is on.
function _M.is_guarded(workspace)
  local ok, err = pcall(_M.rows)
  if not ok then
    kong.log.err("whether the guard is on could not be read: ", err)
  end

  return known.guarded[workspace] == true and configured[workspace] == true
end


--- Whether a configuration has the values of a row.
function _M.is_same(row, conf)
  for name, value in pairs(row.config) do
    if not deepcompare(value, conf[name]) then
      return false
    end
  end

  return true
end


--- Makes a new configuration of a row's values, for which the plugin server starts another instance.
function _M.new_conf(row, conf)
  local new = clone(row.config)
  for _, added in ipairs(internals.ADDED_TO_CONFIGURATIONS) do
    new[added] = conf[added]
  end
  new.__seq__ = internals.next_sequence()
  return new
end


local chosen = {}


--- Returns the configuration as it is stored now, for one that Kong uses.
-- Kong reloads its plugins once in worker_state_update_frequency (5 s) at most, and a removed token would be
-- accepted until then. Where the values did not change, the table stays the same even after Kong reloaded its
-- plugins: for two tables plugin_servers/plugin.lua loses an instance's id at times.
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
      local now = choice and _M.is_same(row, choice.conf) and choice.conf
                  or _M.is_same(row, conf) and conf or _M.new_conf(row, conf)
      chosen[id] = { serial = serial, conf = now }
      return now
    end
  end

  chosen[id] = nil
  return conf -- the plugin was deleted, and Kong will find out
end


local digest, failing


--- Polls the database for a configuration that was changed at any node, and has this node's workers load it.
-- Kong itself polls once in db_update_frequency (5 s).
local function poll(premature)
  if premature then
    return
  end

  local rows, err = internals.connector():query(postgres.plugins_digest(), "read")
  if not rows then
    if not failing then -- one line, and not two a second
      kong.log.warn("whether a configuration of scim was changed could not be read: ", err)
    end
    failing = true
    return
  end

  local found = rows[1] and rows[1].digest or "none"
  if digest and found ~= digest then
    internals.reload_plugins()
  end
  digest, failing = found, false
end


function _M.init_worker()
  -- a DB-less Kong gives each configuration to all workers at once, and a control plane serves no requests
  if ngx.worker.id() == 0 and kong.configuration.database ~= "off"
     and kong.configuration.role ~= "control_plane" then
    assert(ngx.timer.every(POLL_INTERVAL, poll))
  end
end


return _M
