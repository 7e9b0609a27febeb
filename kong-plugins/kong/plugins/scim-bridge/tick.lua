-- The tick: once a second the method `tick` of each enabled `scim` plugin is called, on one worker of each
-- node, for whatever has to be done without a request.

local instances = require "kong.plugins.scim-bridge.instances"
local metrics = require "kong.plugins.scim-bridge.metrics"


local kong = kong


local INTERVAL = 1 -- seconds


local _M = {}


local running
local serial


local function run(premature)
  if premature or running or ngx.worker.exiting() then
    return
  end

  running = true
  local ok, err = pcall(function()
    local rows, current = instances.rows()
    if serial ~= current then
      serial = current
      metrics.forget()
    end

    for _, row in ipairs(rows) do
      instances.call(row, "tick")
    end
  end)
  running = false

  if not ok then
    kong.log.err("the tick failed: ", err)
  end
end


function _M.init_worker()
  if ngx.worker.id() ~= 0 then
    return
  end

  if kong.configuration.role == "data_plane" then
    kong.log.warn("this is a data plane, where the next push of the control plane wipes what is written: ",
                  "the plugin scim answers 501 here. Send provisioning to a traditional or a DB-less Kong")
  elseif kong.configuration.role ~= "control_plane" then
    assert(ngx.timer.at(0, run))
    assert(ngx.timer.every(INTERVAL, run))
  end
end


return _M
