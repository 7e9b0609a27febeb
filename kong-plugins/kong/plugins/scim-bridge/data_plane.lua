-- Runs what reads or writes the gateway's data on the control plane of a data plane, over Kong's own channel
-- between the two (cluster_rpc). control_plane.lua is the other side, and says how a call is sent.

local access_changes = require "kong.plugins.scim-bridge.access_changes"
local envelope = require "kong.plugins.scim-bridge.envelope"
local hybrid = require "kong.plugins.scim-bridge.hybrid_internals"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local parts = require "kong.plugins.scim-bridge.parts"
local wire = require "kong.plugins.scim-bridge.cluster_wire"


local kong = kong


local PEER = "control_plane" -- the name that Kong gives the other side
local LATE = 3 -- times that an answer may be late, of 5 s each

local AWAY = "This data plane is not connected to its control plane"
local OLD = "the control plane has no scim-bridge of this release: install one release on all nodes, the " ..
            "control planes first"
local UNKNOWN = "The connection to the control plane broke before it answered"


local _M = {}


local function fail(name, message)
  envelope.raise(name, message)
end


--- Sends a text as one call.
-- @return the first piece of the answer, or nil if it is late; and the id of the call
local function send(name, text)
  local capable = hybrid.peers(wire.CAPABILITY)[PEER]
  if capable == nil then
    fail("CONTROL_PLANE_AWAY", AWAY)
  elseif not capable then
    fail("BRIDGE_VERSION", OLD)
  end

  local id, at = internals.uuid(), 1
  while #text - at >= wire.PIECE do
    local taken, err = hybrid.call(PEER, wire.CALL, { id = id, text = text:sub(at, at + wire.PIECE - 1),
                                                         more = true })
    if not taken or taken.refused then
      kong.log.notice("a call of the control plane failed: ", err)
      fail(taken and taken.refused or "CONTROL_PLANE_AWAY", taken and taken.message or AWAY)
    end
    at = at + wire.PIECE
  end

  local answer = hybrid.call(PEER, wire.CALL, {
    id = id,
    name = name,
    text = text:sub(at),
    version = envelope.VERSION,
    workspace = internals.workspace(),
  })
  if answer and answer.refused then
    fail(answer.refused, answer.message)
  elseif not answer and not hybrid.peers(wire.CAPABILITY)[PEER] and name ~= "commit" then
    fail("CONTROL_PLANE_AWAY", AWAY)
  end
  return answer, id
end


--- Fetches what is left of an answer, and returns the whole.
local function receive(name, answer, id)
  local pieces, size, late = {}, 0, 0
  while true do
    if answer and answer.text then
      pieces[#pieces + 1], size = answer.text, size + #answer.text
      if answer.ended then
        return table.concat(pieces), answer.access
      end
    elseif not answer then
      late = late + 1
    end

    if late == LATE or answer and answer.gone or hybrid.peers(wire.CAPABILITY)[PEER] == nil then
      fail(name ~= "commit" and "CONTROL_PLANE_AWAY" or "DATABASE", UNKNOWN)
    end
    answer = hybrid.call(PEER, wire.REST, { id = id, from = size })
  end
end


local function forward(name, text)
  local answer, id = send(name, envelope.expect(parts.joined(text), "the argument is too long"))
  local whole, access = receive(name, answer, id)
  if access then
    access_changes.hear(access) -- before the client has its answer
  end
  return whole
end


--- Returns the function that stands for one of kong.scim on a data plane; nil on any other node.
function _M.elsewhere(name)
  if hybrid.channel() ~= "cluster" then
    return
  end

  return function(text)
    local ok, result = pcall(forward, name, text)
    if ok then
      return result
    elseif type(result) ~= "table" then
      kong.log.err("[scim-bridge] ", result)
    end
    return envelope.encode({ error = type(result) == "table" and result or {
      code = 0, name = "INTERNAL", message = "scim-bridge failed: see Kong's error log",
    } })
  end
end


--- Asks the control plane which of some consumers have access.
-- @return the answer, { moment, lifted }, in the form of access_changes; nil if it does not answer
local function ask(ids)
  if hybrid.peers(wire.CAPABILITY)[PEER] then
    return hybrid.call(PEER, wire.STATE, { ids = ids, workspace = kong.default_workspace })
  end
end


function _M.init_worker()
  if hybrid.channel() == "cluster" then
    hybrid.on_call(wire.ACCESS, function(_, changes)
      access_changes.hear(changes)
      return { heard = true }
    end)
    access_changes.init_worker(ask)
    if hybrid.takes_deltas() and ngx.worker.id() == 0 then
      internals.on_configuration_loaded(hybrid.keep_default_workspace)
    end
  end
end


return _M
