-- The tick calls the method `tick` of each enabled `scim` plugin, which does the work that no request does.
-- It runs once a second, right after a write, and right after a tick that left work, in one worker of each
-- node.

local instances = require "kong.plugins.scim-bridge.instances"
local hybrid = require "kong.plugins.scim-bridge.hybrid_internals"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local metrics = require "kong.plugins.scim-bridge.metrics"
local live_config = require "kong.plugins.scim-bridge.live_config"


local kong = kong


local PAUSE = 0.2 -- seconds at least from the end of a tick to the next, however many writes request it
local SOURCE, REQUESTED = "scim-bridge", "tick" -- the event that requests a tick
local REQUEST = "scim-bridge:tick" -- in Kong's shared dictionary while a tick is requested


local _M = {
  INTERVAL = 1, -- seconds
}


local running, scheduled, ended = false, false, 0
local serial -- the number of the configurations (live_config.rows) for which the gauges were set


local failing = {} -- the errors of the last tick, by the id of the plugin


--- Runs the tick of one plugin. A failure is logged once, and the other plugins have their ticks.
local function tick_of(row)
  local ok, err = pcall(instances.call, row, "tick")
  if not ok and failing[row.id] ~= tostring(err) then
    kong.log.err("the tick of plugin ", row.id, " failed: ", err, "; it is tried again each second")
  end
  failing[row.id] = not ok and tostring(err) or nil
end


local schedule


local function run(premature)
  if premature or running or ngx.worker.exiting() then
    return
  end

  running = true
  internals.shared():delete(REQUEST) -- a write from here on requests another tick
  local ok, err = pcall(function()
    local rows, current = live_config.rows()
    if serial ~= current then
      serial = current
      metrics.forget()
    end

    for _, row in ipairs(rows) do
      metrics.guarded(row.config.tenant, live_config.is_guarded(row.ws_id or kong.default_workspace))
    end

    for _, row in ipairs(rows[1] and instances.listens() and rows or {}) do
      tick_of(row)
    end
  end)
  running, ended = false, ngx.now()

  if not ok then
    kong.log.err("the tick failed: ", err)
  end
  if internals.shared():get(REQUEST) then -- its event may have come while this tick ran
    schedule()
  end
end


local function run_requested(premature)
  scheduled = false
  run(premature)
end


function schedule()
  if not scheduled and not running and not ngx.worker.exiting() then
    scheduled = true
    assert(ngx.timer.at(math.max(0, ended + PAUSE - ngx.now()), run_requested))
  end
end


--- Requests a tick before the next second, after a write. It does not wait for the tick. If the request
-- fails, the next second's tick does the work.
function _M.request()
  if internals.shared():safe_add(REQUEST, true, _M.INTERVAL) then
    local ok, err = internals.send_event(SOURCE, REQUESTED, {})
    if not ok then
      kong.log.warn("the tick is not requested: ", err)
    end
  end
end


--- kong.scim.request_tick requests a tick because the plugin server has more work than one tick does.
function _M.request_tick()
  _M.request()
  return {}
end


function _M.init_worker()
  if ngx.worker.id() ~= 0 then
    return
  end

  local channel = hybrid.channel()
  if channel == "off" then
    kong.log.warn("this is a data plane without cluster_rpc, so it cannot reach its control plane: the ",
                  "plugin scim answers 501 here. Set cluster_rpc = on on all nodes")
  elseif channel == "konnect" then
    kong.log.warn("this is a data plane of Konnect, whose control plane does not run scim-bridge: the ",
                  "plugin scim answers 501 here")
  elseif kong.configuration.role ~= "control_plane" then
    internals.on_event(schedule, SOURCE, REQUESTED)
    internals.on_configuration_loaded(schedule) -- SCIM's rows are gone, so people wait for this tick
    assert(ngx.timer.at(0, run))
    assert(ngx.timer.every(_M.INTERVAL, run))
  end
end


return _M
