-- Runs functions of kong.scim for data planes (data_plane.lua), which call over Kong's channel. Kong
-- waits 5 s for the answer to a call, and a message has a largest size (cluster_max_payload). So a text
-- comes in pieces, of which the last has the name of the function; an answer is fetched in pieces too, and a
-- late one is asked for again.

local envelope = require "kong.plugins.scim-bridge.envelope"
local fleet = require "kong.plugins.scim-bridge.fleet"
local hybrid = require "kong.plugins.scim-bridge.hybrid_internals"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local live_config = require "kong.plugins.scim-bridge.live_config"
local postgres = require "kong.plugins.scim-bridge.postgres"
local semaphore = require "ngx.semaphore"
local sql = require "kong.plugins.scim-bridge.sql"
local tags = require "kong.plugins.scim-bridge.tags"
local wire = require "kong.plugins.scim-bridge.cluster_wire"


local kong = kong


local FUNCTIONS = { query = true, drift = true, review = true, commit = true, credentials = true }
local WAIT = 2 -- seconds until a call is answered that its result is late
local KEPT = 60 -- seconds that a call is kept after its data plane last asked for it
local LONGEST = 67108864 -- bytes of all pieces of a call, as in parts.lua
local MOST = 4 * LONGEST -- bytes that this worker keeps of all calls
local MOST_ASKED = 1000 -- consumers of one question


local _M = {}


local calls, kept = {}, 0 -- by node and id; and their bytes


local function forget(key)
  kept = kept - calls[key].size
  calls[key] = nil
end


local function call_of(node, id)
  local key = node .. " " .. tostring(id)
  local call = calls[key]
  if not call then
    for other, each in pairs(calls) do
      if each.touched < ngx.now() - KEPT then
        forget(other)
      end
    end
    call = { pieces = {}, size = 0, done = semaphore.new() }
    calls[key] = call
  end

  call.touched = ngx.now()
  return call, key
end


local function refused(name, message)
  return { refused = name, message = message }
end


--- Returns a refusal if this control plane cannot run a call; else nil.
local function refusal(argument)
  if argument.version ~= envelope.VERSION then
    return refused("BRIDGE_VERSION", "scim-bridge of the control plane speaks version " .. envelope.VERSION ..
                   " of the wire and that of this data plane version " .. tostring(argument.version) ..
                   ": install one release on all nodes, the control planes first")
  elseif not FUNCTIONS[argument.name] then
    return refused("BAD_REQUEST", "a control plane does not run this function for data planes")
  elseif argument.workspace ~= kong.default_workspace
         and not kong.db.workspaces:select({ id = argument.workspace })
  then
    return refused("CONTROL_PLANE_AWAY", "This data plane has no configuration of its control plane yet")
  end

  local ok, rows = pcall(live_config.rows)
  if not ok then
    return refused("CONTROL_PLANE_AWAY", "The database of the control plane does not answer")
  elseif not rows[1] then
    return refused("READ_ONLY", "the plugin scim is enabled nowhere on the control plane")
  end
end


local function run(_, call, argument, text)
  internals.set_workspace(argument.workspace)
  ngx.ctx.scim_commit = true
  call.text = kong.scim[argument.name](text)
  call.access = ngx.ctx.scim_access
  call.done:post(1)
end


--- Returns the answer to a call from a byte on, or that it is late. A call is forgotten with its last byte.
local function answer_from(call, key, from)
  if not call.text and not call.done:wait(WAIT) then
    return { late = true }
  end

  local piece = call.text:sub(from + 1, from + wire.PIECE)
  local ended = from + #piece >= #call.text
  if ended and calls[key] then
    forget(key)
  end
  return { text = piece, ended = ended, access = ended and call.access or nil }
end


local function on_call(node, argument)
  local call, key = call_of(node, argument.id)
  local text = tostring(argument.text)
  call.size, kept = call.size + #text, kept + #text
  if call.size > LONGEST or kept > MOST then
    forget(key)
    return refused("CONTROL_PLANE_AWAY", "The control plane has too many large messages at once")
  end

  call.pieces[#call.pieces + 1] = text
  if argument.more then
    return { received = true }
  end

  local no = refusal(argument)
  if no then
    forget(key)
    return no
  end

  text = table.concat(call.pieces)
  call.pieces = {}
  assert(ngx.timer.at(0, run, call, argument, text))
  return answer_from(call, key, 0)
end


local function on_rest(node, argument)
  local key = node .. " " .. tostring(argument.id)
  local call = calls[key]
  if not call then
    return { gone = true }
  end

  call.touched = ngx.now()
  return answer_from(call, key, argument.from)
end


--- Answers which of some consumers have access, as a message of who got it back (access_changes.lua).
local function on_state(_, argument)
  local ids = envelope.array({})
  for i, id in ipairs(argument.ids) do
    ids[i] = i <= MOST_ASKED and id or nil
  end

  local connector = internals.connector()
  local workspace = connector:escape_literal(argument.workspace)
  local list = connector:escape_literal(envelope.encode(ids))
  -- the moment is taken while no commit on these consumers is under way
  local answers, err = connector:query(table.concat({
    sql.begin(), postgres.tags(workspace, list), postgres.moment(), "COMMIT",
  }, ";\n"))
  if not answers then
    return nil, err
  end

  local lifted = envelope.array({})
  for _, row in ipairs(answers[3]) do
    local consumer = { tags = envelope.decode(row.tags) }
    if not tags.is_suspended(consumer) then
      table.insert(lifted, { id = row.id, tags = tags.text(consumer) })
    end
  end
  local none = envelope.array({})
  return { moment = tonumber(answers[4][1].moment), revoked = none, lifted = lifted, subjects = none }
end


function _M.init_worker()
  if hybrid.is_called() then
    hybrid.quiet_delta_hooks()
    hybrid.on_call(wire.CALL, on_call)
    hybrid.on_call(wire.REST, on_rest)
    hybrid.on_call(wire.STATE, on_state)
    fleet.init_worker()
  end
end


return _M
