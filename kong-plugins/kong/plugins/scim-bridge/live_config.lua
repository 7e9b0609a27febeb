-- Reads the live configurations of the plugin `scim`: those that are stored now, which Kong itself uses only
-- some seconds later. Also tells whether the guard, the plugin `scim-bridge`, is on for every route.

local clone = require "table.clone"
local deepcompare = require("pl.tablex").deepcompare
local internals = require "kong.plugins.scim-bridge.kong_internals"
local postgres = require "kong.plugins.scim-bridge.postgres"


local kong = kong


local PLUGIN, GUARD = "scim", "scim-bridge"
local POLL_INTERVAL = 0.5 -- seconds


local _M = {}


local known = { serial = 0, rows = {}, observed = false, guarded = {} }


--- Tells whether a row of a plugin is for every route of its workspace.
local function is_global(row)
  return not (row.route or row.service or row.consumer or row.consumer_group)
end


--- Returns the rows of the enabled `scim` plugins, and a number that changes with them. They are read again
-- when any plugin changes.
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
    if version ~= known.version then -- unless another request has read them meanwhile
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


--- Tells whether the prometheus plugin was enabled at the last call of `rows`.
function _M.observed()
  return known.observed
end


local configured = {} -- whether this worker runs the guard on every route, by workspace


--- Notes the configurations of the guard that this worker uses from now on.
-- @param configurations the configurations of all enabled instances, or nil for none
function _M.configured(configurations)
  configured = {}
  for _, conf in ipairs(configurations or {}) do
    if not (conf.route_id or conf.service_id or conf.consumer_id or conf.consumer_group_id) then
      configured[conf.__ws_id or kong.default_workspace] = true
    end
  end
end


--- Tells whether the guard is on for every route of a workspace, both as stored now and in this worker. A
-- guard that is turned off is first off in the store, and one that is turned on is last on in the worker.
function _M.is_guarded(workspace)
  local ok, err = pcall(_M.rows)
  if not ok then
    kong.log.err("whether the guard is on could not be read: ", err)
  end

  return known.guarded[workspace] == true and configured[workspace] == true
end


--- Tells whether a configuration has the values of a row.
function _M.is_same(row, conf)
  for name, value in pairs(row.config) do
    if not deepcompare(value, conf[name]) then
      return false
    end
  end

  return true
end


--- Makes a new configuration with a row's values, for which the plugin server starts another instance.
function _M.new_conf(row, conf)
  local new = clone(row.config)
  for _, added in ipairs(internals.ADDED_TO_CONFIGURATIONS) do
    new[added] = conf[added]
  end
  new.__seq__ = internals.next_sequence()
  return new
end


local chosen = {} -- the last result of `current`, by the id of the plugin


--- Returns the live configuration for the one that Kong uses.
-- Kong reloads its plugins at most once in worker_state_update_frequency (5 s), and would accept a removed
-- token until then. If the values did not change, the result is the same table even after Kong has reloaded
-- its plugins, because with two tables plugin_servers/plugin.lua sometimes loses the id of an instance.
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
  return conf -- the plugin was deleted, and Kong will stop it
end


local digest, failing


--- Polls the database for a configuration that was changed at any node, and has this node's workers load it.
-- Kong itself polls every db_update_frequency (5 s).
local function poll(premature)
  if premature then
    return
  end

  local rows, err = internals.connector():query(postgres.plugins_digest(), "read")
  if not rows then
    if not failing then -- logs the first failure only
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
  -- a DB-less Kong loads a configuration in all workers at once, and a control plane serves no requests
  if ngx.worker.id() == 0 and kong.configuration.database ~= "off"
     and kong.configuration.role ~= "control_plane" then
    assert(ngx.timer.every(POLL_INTERVAL, poll))
  end
end


return _M
