-- The headers that tell an upstream who calls. Kong's plugins set them from the access phase on, so whatever
-- has such a name before, in the rewrite phase, was sent by the client.

local kong = kong


local NAMES = { "^x_consumer_", "^x_credential_", "^x_authenticated_", "^x_anonymous_consumer$" }


local _M = {}


--- Whether an upstream may take a header for one of them: CGI, WSGI, PHP and others make one variable of all
-- names that differ in case and in what is neither a letter nor a digit.
local function is_identity(name)
  name = name:lower():gsub("[^a-z0-9]", "_")
  for _, pattern in ipairs(NAMES) do
    if name:find(pattern) then
      return true
    end
  end

  return false
end


--- Takes them off a request. Kong calls it where the plugin is global, before any plugin authenticates.
function _M.rewrite(_, conf)
  if not conf.hide_identity_headers then
    return
  end

  ngx.ctx.scim_identity_hidden = true
  for name in pairs(ngx.req.get_headers(0)) do -- 0: all of them, however many others stand before
    if is_identity(name) then
      ngx.req.clear_header(name)
    end
  end
end


--- Refuses a request of a route that is meant to hide them by a plugin of its own, which comes too late to
-- tell them apart.
function _M.check(conf)
  if conf.hide_identity_headers and not ngx.ctx.scim_identity_hidden then
    kong.log.err("hide_identity_headers: set it on the global scim-bridge, not on one of a route or service")
    return kong.response.exit(503, { message = "hide_identity_headers needs a global scim-bridge" })
  end
end


return _M
