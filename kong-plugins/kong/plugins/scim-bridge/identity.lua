-- Removes identity headers, which tell an upstream who calls, from a client's request. Kong's plugins set
-- them from the access phase on, so one that is there before, in the rewrite phase, was sent by the client.

local kong = kong


local NAMES = { "^x_consumer_", "^x_credential_", "^x_authenticated_", "^x_anonymous_consumer$" }


local _M = {}


--- Tells whether an upstream may read a header as an identity header. CGI, WSGI, PHP and others make one
-- variable of all names that differ only in case, or in characters that are neither letters nor digits.
local function is_identity(name)
  name = name:lower():gsub("[^a-z0-9]", "_")
  for _, pattern in ipairs(NAMES) do
    if name:find(pattern) then
      return true
    end
  end

  return false
end


--- Removes the identity headers of a request. If the plugin is global, Kong calls this before any plugin
-- authenticates.
function _M.rewrite(_, conf)
  if not conf.hide_identity_headers then
    return
  end

  ngx.ctx.scim_identity_hidden = true
  for name in pairs(ngx.req.get_headers(0)) do -- 0 is for no limit
    if is_identity(name) then
      ngx.req.clear_header(name)
    end
  end
end


--- Refuses a request if only a plugin of its route or service is to hide these headers. Such a plugin runs
-- too late to tell a client's headers from those of plugins.
function _M.check(conf)
  if conf.hide_identity_headers and not ngx.ctx.scim_identity_hidden then
    kong.log.err("hide_identity_headers: set it on the global scim-bridge, not on one of a route or service")
    return kong.response.exit(503, { message = "hide_identity_headers needs a global scim-bridge" })
  end
end


return _M
