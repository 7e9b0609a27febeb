-- Test only. A Kong with this plugin ticks at its start, and then only when it is asked.

local tick = require "kong.plugins.scim-bridge.tick"


local WithoutTicks = {
  PRIORITY = 1000000, -- before scim-bridge
  VERSION = "0.1.0",
}


function WithoutTicks:init_worker()
  tick.INTERVAL = 1000000
end


return WithoutTicks
