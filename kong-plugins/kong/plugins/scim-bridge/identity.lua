-- Removes identity headers, which tell an upstream who calls, from a client's request. Kong's plugins set
-- them from the access phase on, so one that is there before, in the rewrite phase, was sent by the client.

local claims = require "kong.plugins.scim-bridge.claims"


local kong = kong


local NAMES = { "^x_consumer_", "^x_credential_", "^x_authenticated_", "^x_anonymous_consumer$" }


local _M = {}


--- Returns a name as all of its spellings have it that an upstream may take for the same.
local function one_spelling(name)
  return (name:lower():gsub("[^a-z0-9]", "_"))
end


--- Tells whether an upstream may read a header as an identity header. CGI, WSGI, PHP and others make one
-- variable of all names that differ only in case, or in characters that are neither letters nor digits.
local function is_identity(name)
  name = one_spelling(name)
  for _, pattern in ipairs(NAMES) do
    if name:find(pattern) then
      return true
    end
  end

  return false
end


local hidden = setmetatable({}, { __mode = "k" }) -- the headers with claims, by configuration


local function claims_headers(conf)
  local names = hidden[conf]
  if not names then
    names = {}
    for _, name in ipairs(claims.headers(conf)) do
      names[one_spelling(name)] = true
    end
    hidden[conf] = names
  end

  return names
end


--- Removes the identity headers of a request, and those with claims. If the plugin is global, Kong calls this
-- before any plugin authenticates.
function _M.rewrite(_, conf)
  local names = claims_headers(conf)
  if not (conf.hide_identity_headers or next(names)) then
    return
  end

  ngx.ctx.scim_identity_hidden = true
  for name in pairs(ngx.req.get_headers(0)) do -- 0 is for no limit
    if names[one_spelling(name)] or conf.hide_identity_headers and is_identity(name) then
      ngx.req.clear_header(name)
    end
  end
end


--- Refuses a request if only a plugin of its route or service is to hide these headers. Such a plugin runs
-- too late to tell a client's headers from those of plugins.
function _M.check(conf)
  if ngx.ctx.scim_identity_hidden then
    return
  end

  local message = conf.hide_identity_headers and "hide_identity_headers needs a global scim-bridge"
                  or next(claims_headers(conf)) and "claims with headers needs a global scim-bridge"
  if message then
    kong.log.err(message, ": set it there, not on one of a route or service")
    return kong.response.exit(503, { message = message })
  end
end


return _M
