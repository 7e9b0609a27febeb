-- Sends the answer of kong.scim.begin with the first message of a request, so that the plugin server need not
-- ask for it. What it asks for depends on its configuration, so its first request of a configuration has
-- `begin` as a step, and the same argument is used for the next ones.

local begin = require "kong.plugins.scim-bridge.begin"
local envelope = require "kong.plugins.scim-bridge.envelope"


local PHASE = "access"


local _M = {}


local arguments = setmetatable({}, { __mode = "k" }) -- of `begin` as JSON, by configuration


--- kong.scim.begin, as a step.
-- @param arg.ahead whether the plugin server takes the answer with the first message from now on
function _M.begin(arg)
  local conf = ngx.ctx.scim_configuration
  if conf and arg.ahead == true then
    arguments[conf] = envelope.encode(arg)
  end

  return begin(arg)
end


local answer = envelope.wrap(begin)


--- Returns the name of the event by which the plugin server is called: the phase, and after a blank the
-- answer of `begin` if it is known what that asks for. Kong sends any name (mp_rpc.lua).
function _M.name(conf)
  ngx.ctx.scim_configuration = conf
  local argument = arguments[conf]
  return argument and PHASE .. " " .. answer(argument) or PHASE
end


--- Has the next request use the step again, because the plugin server did not answer. It may be another one.
function _M.forget()
  local conf = ngx.ctx.scim_configuration
  if conf then
    arguments[conf] = nil
  end
end


return _M
