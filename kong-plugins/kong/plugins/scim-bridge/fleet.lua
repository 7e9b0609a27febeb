-- Tells the data planes of all control planes what a commit changed: at once who lost access, as a consumer
-- or as a subject, which the guard needs to know before anything else, and then the configuration, which
-- Kong sends.

local deltas = require "kong.plugins.scim-bridge.deltas"
local envelope = require "kong.plugins.scim-bridge.envelope"
local hybrid = require "kong.plugins.scim-bridge.hybrid_internals"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local postgres = require "kong.plugins.scim-bridge.postgres"
local revocations = require "kong.plugins.scim-bridge.revocations"
local wire = require "kong.plugins.scim-bridge.cluster_wire"


local kong = kong


local SOURCE, ACCESS = "scim-bridge", "access" -- the event by which each worker tells its data planes
local CHANNEL = "scim_bridge_access" -- of PostgreSQL's notifications, which other control planes listen to
-- how many of a kind are in one message: a notification has 8,000 bytes at most
local OF_MESSAGE = { revoked = 150, lifted = 25, subjects = 35 }
local REMEMBERED = 1000 -- messages
local PAUSE = 1 -- seconds until a lost connection for notifications is opened again


local _M = {}


--- Returns the messages about those who lost or got access by a commit, each as JSON.
local function messages_of(changes)
  local messages = {}
  for kind, most in pairs(OF_MESSAGE) do
    for first = 1, #changes[kind], most do
      local message = { moment = changes.moment }
      for each in pairs(OF_MESSAGE) do
        message[each] = envelope.array({})
      end
      for i = first, math.min(first + most - 1, #changes[kind]) do
        table.insert(message[kind], changes[kind][i])
      end
      messages[#messages + 1] = envelope.encode(message)
    end
  end

  return messages
end


--- Adds to a transaction what tells other nodes of it. It is called last, before COMMIT.
function _M.before_commit(tx)
  if not (hybrid.is_called() and tx.events[1]) then
    return
  end

  local connector = tx.connector
  -- another control plane sends the configuration when it polls this event, and so does this one if it dies
  -- now
  tx.batch:add(postgres.invalidations(internals.uuid(), internals.cluster_event_ttl() + 1,
                                      connector:escape_literal(hybrid.PUSH_CHANNEL),
                                      connector:escape_literal('["scim-bridge:commit"]')))
  tx.batch:flush()
  if hybrid.keeps_deltas() then
    deltas.add(tx)
  end

  local changes = revocations.changes(tx.events)
  changes.subjects = tx.subjects
  if not (changes.revoked[1] or changes.lifted[1] or changes.subjects[1]) then
    return
  end

  -- The commit holds the locks of these consumers' rows. So of two commits on one consumer, the later one
  -- has the later moment, and a data plane can tell which of two messages is true, in whatever order they
  -- come.
  tx.batch:add(postgres.moment(), { awaited = true, on_answer = function(answer)
    changes.moment = tonumber(answer[1].moment)
  end })
  tx.batch:flush()
  tx.messages = messages_of(changes)
  for _, message in ipairs(tx.messages) do
    tx.batch:add(postgres.notify(connector:escape_literal(CHANNEL), connector:escape_literal(message)))
  end
  tx.access = changes
end


local pushing, again = false, false


--- Has Kong send the configuration. Meanwhile further commits may ask for it, which is one more time at the
-- end.
local function push()
  while again do
    again = false
    local ok, err = pcall(hybrid.push_configuration)
    if not ok then
      kong.log.err("the configuration is not sent to the data planes: ", err)
    end
  end
  pushing = false
end


--- Tells of a commit. It is called after COMMIT, also if it is not known whether that took effect.
function _M.after_commit(tx)
  if not (hybrid.is_called() and tx.events[1]) then
    return
  end

  ngx.ctx.scim_access = tx.access -- for the data plane that asked for the commit
  for _, message in ipairs(tx.messages or {}) do
    internals.send_event(SOURCE, ACCESS, message)
  end

  again = true
  if not pushing then
    pushing = true
    assert(ngx.timer.at(0, push))
  end
end


local sent, count = {}, 0 -- sent by this worker lately: each comes by an event and a notification


local function tell(_, node, message)
  local ok, err = hybrid.call(node, wire.ACCESS, message)
  if not ok then
    kong.log.warn("data plane ", node, " is not told who lost access, and hears of it with its next ",
                  "configuration: ", err)
  end
end


local old_nodes = {} -- data planes without the capability, which are logged once


local function on_access(text)
  if sent[text] then
    return
  elseif count >= REMEMBERED then
    sent, count = {}, 0
  end
  sent[text], count = true, count + 1

  local message = envelope.decode(text)
  for node, capable in pairs(hybrid.peers(wire.CAPABILITY)) do
    if capable then
      assert(ngx.timer.at(0, tell, node, message))
    elseif not old_nodes[node] then
      old_nodes[node] = true
      kong.log.warn("data plane ", node, " has no scim-bridge of this release: it hears who lost access ",
                    "only with its next configuration")
    end
  end
end


local function listen(premature)
  if premature or ngx.worker.exiting() then
    return
  end

  local ok, err = pcall(hybrid.listen, CHANNEL, function(text)
    internals.send_event(SOURCE, ACCESS, text)
  end)
  if not ok then
    kong.log.warn("the notifications of other control planes are lost until the database answers: ", err)
  end
  assert(ngx.timer.at(PAUSE, listen))
end


function _M.init_worker()
  internals.on_event(on_access, SOURCE, ACCESS)
  if ngx.worker.id() == 0 then
    assert(ngx.timer.at(0, listen))
  end
end


return _M
