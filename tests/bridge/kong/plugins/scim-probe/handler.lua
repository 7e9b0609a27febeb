-- Test only. Calls kong.scim.* as the plugin server would, and shows what it answered.
--   POST {"fn": "commit", "text": "<argument as JSON text>"}  -> the answer
--   any request with the header X-Probe: {"fn": "begin", ...} -> the same, about that request
--   {"fn": "deaf", "text": true or false}                    -> this worker keeps in its own cache what it is
--                                                               told to drop, as one that is too busy does
-- Every answer says in X-Worker which worker gave it.

local cjson = require "cjson.safe"


local kong = kong
local ngx = ngx


local ScimProbeHandler = {
  PRIORITY = 755,
  VERSION = "0.1.0",
}


local function keep() end


local function deaf(is_deaf)
  for _, cache in ipairs({ kong.cache, kong.core_cache }) do
    cache.mlcache.lru.delete = is_deaf and keep or nil
  end

  return "{}"
end


function ScimProbeHandler:access()
  local order = cjson.decode(kong.request.get_header("x-probe") or kong.request.get_raw_body(0))
  local headers = {
    ["Content-Type"] = "application/json",
    ["X-Worker"] = ngx.worker.pid(),
    ["X-Connections"] = tostring(ngx.ctx.connection_write) .. tostring(ngx.ctx.connection_read),
  }

  local answer = (order.fn == "deaf" and deaf or kong.scim[order.fn])(order.text)
  headers["X-Connections-After"] = tostring(ngx.ctx.connection_write) .. tostring(ngx.ctx.connection_read)
  return kong.response.exit(200, answer, headers)
end


return ScimProbeHandler
