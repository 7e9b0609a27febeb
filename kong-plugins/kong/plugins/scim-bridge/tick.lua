-- The tick: once a second, and soon after a write or a tick that did not get done, the method `tick` of each
-- enabled `scim` plugin is called, on one worker of each node, for whatever has to be done without a request.

local instances = require "kong.plugins.scim-bridge.instances"
local metrics = require "kong.plugins.scim-bridge.metrics"
local stored = require "kong.plugins.scim-bridge.stored"


local kong = kong


local PAUSE = 0.2 -- seconds from the end of one to the next, however many writes ask for it
local EVENTS, SOON = "scim-bridge", "tick"
local ASKED = "scim-bridge:tick" -- in Kong's shared dictionary: a write has asked for the next one


local _M = {
  INTERVAL = 1, -- seconds
}


local running, scheduled, ended = false, false, 0
local serial -- of the instances whose values the metrics have


local failing = {} -- by the id of a plugin: what its tick failed with last


--- The tick of one plugin: what it fails with is logged once, and keeps no other plugin from its own.
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
  ngx.shared.kong:delete(ASKED) -- what is written from here on asks again
  local ok, err = pcall(function()
    local rows, current = stored.rows()
    if serial ~= current then
      serial = current
      metrics.forget()
    end

    for _, row in ipairs(rows) do
      metrics.guarded(row.config.tenant, stored.is_guarded(row.ws_id or kong.default_workspace))
    end

    for _, row in ipairs(rows[1] and instances.listens() and rows or {}) do
      tick_of(row)
    end
  end)
  running, ended = false, ngx.now()

  if not ok then
    kong.log.err("the tick failed: ", err)
  end
  if ngx.shared.kong:get(ASKED) then -- and may have been overlooked
    schedule()
  end
end


local function run_soon(premature)
  scheduled = false
  run(premature)
end


function schedule()
  if not scheduled and not running and not ngx.worker.exiting() then
    scheduled = true
    assert(ngx.timer.at(math.max(0, ended + PAUSE - ngx.now()), run_soon))
  end
end


--- Has it come soon: something was written that somebody may have to be told of. Waits for nothing, and
-- where it fails there is the next second's.
function _M.soon()
  if ngx.shared.kong:safe_add(ASKED, true, _M.INTERVAL) then
    local ok, err = kong.worker_events.post(EVENTS, SOON, {})
    if not ok then
      kong.log.warn("the tick is not asked for: ", err)
    end
  end
end


--- kong.scim.soon: a tick did not get done.
function _M.asked()
  _M.soon()
  return {}
end


function _M.init_worker()
  if ngx.worker.id() ~= 0 then
    return
  end

  if kong.configuration.role == "data_plane" then
    kong.log.warn("this is a data plane, where the next push of the control plane wipes what is written: ",
                  "the plugin scim answers 501 here. Send provisioning to a traditional or a DB-less Kong")
  elseif kong.configuration.role ~= "control_plane" then
    kong.worker_events.register(schedule, EVENTS, SOON)
    assert(ngx.timer.at(0, run))
    assert(ngx.timer.every(_M.INTERVAL, run))
  end
end


return _M
