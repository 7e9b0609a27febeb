-- Kong's caches after a commit. Kong's DAOs drop an entity from the caches as they write it, which in
-- a transaction is too early: a request between the write and the COMMIT puts the old row back.

local constants = require "kong.constants"
local uuid = require("kong.tools.uuid").uuid


local kong         = kong
local concat       = table.concat
local fmt          = string.format
local null         = ngx.null


local EVENT = "scim-bridge"
local ALL_WORKERS_SAW = 0.25 -- seconds to wait for it at most
local ACKS_TTL = 10 -- seconds


local _M = {}


--- A view of kong.db whose DAOs note their events in a list instead of sending them.
-- Kong's option no_broadcast_crud_event would not do: acls ignores it, and the events of cascaded
-- children would be lost.
function _M.recorder(db, events)
  local view = setmetatable({}, { __index = db })

  view.daos = setmetatable({}, { __index = function(daos, name)
    local dao = db.daos[name]
    if not dao then
      return
    end

    local recording = setmetatable({ db = view }, { __index = dao })
    function recording:post_crud_event(operation, entity, old_entity)
      events[#events + 1] = { dao = dao, operation = operation, entity = entity, old_entity = old_entity }
    end

    daos[name] = recording
    return recording
  end })

  return view
end


local function keys_of(events)
  local keys = {}
  for _, event in ipairs(events) do
    local dao = event.dao
    local name = dao.schema.name
    local channel = kong[constants.ENTITY_CACHE_STORE[name]].invalidation_channel
    for _, entity in pairs({ event.entity, event.old_entity }) do
      keys[dao:cache_key(entity)] = channel
      if name == "acls" then
        keys[dao:cache_key(entity.consumer.id)] = channel
      elseif name == "consumers" and entity.username and entity.username ~= null then
        keys[dao:cache_key(entity.username)] = channel
      end
    end
  end

  return keys
end


--- A statement that tells every node, this one too, to drop the caches; part of the transaction.
-- It holds where this worker dies right after COMMIT, and where a request that read the old row
-- before COMMIT caches it late. A node skips its own events, hence the stranger's id; one second
-- ahead, so that no poll passes by before the transaction is visible (kong/cluster_events).
function _M.invalidations(connector, events)
  local rows = {}
  for key, channel in pairs(keys_of(events)) do
    rows[#rows + 1] = fmt("('%s', '%s', clock_timestamp() + interval '1 second', " ..
                          "clock_timestamp() + interval '%d seconds', %s, %s)",
                          uuid(), uuid(), kong.cluster_events.strategy.event_ttl + 1,
                          connector:escape_literal(channel), connector:escape_literal(key))
  end

  return rows[1] and 'INSERT INTO cluster_events (id, node_id, "at", expire_at, channel, data) VALUES ' ..
                     concat(rows, ", ")
end


--- Waits until each worker of this node has dropped from its own memory what was invalidated before:
-- events reach a worker in their order.
local function await_workers()
  local acks, key = ngx.shared.kong, EVENT .. ":" .. uuid()
  local ok, err = kong.worker_events.post(EVENT, "barrier", key)
  if not ok then
    kong.log.err("could not reach the other workers: ", err)
    return
  end

  local deadline = ngx.now() + ALL_WORKERS_SAW
  while (acks:get(key) or 0) < ngx.worker.count() do
    if ngx.now() > deadline then
      kong.log.warn("a worker has not dropped its caches after ", ALL_WORKERS_SAW, " s")
      return
    end

    ngx.sleep(0.001)
    ngx.update_time()
  end
end


function _M.init_worker()
  kong.worker_events.register(function(key)
    ngx.shared.kong:incr(key, 1, 0, ACKS_TTL)
  end, EVENT, "barrier")
end


--- Sends the noted events, after COMMIT.
function _M.publish(events)
  if not next(events) then
    return
  end

  local ctx = ngx.ctx
  local workspace = ctx.workspace
  for _, event in ipairs(events) do
    local dao = event.dao
    local ok, err = pcall(dao.post_crud_event, dao, event.operation, event.entity, event.old_entity)
    if not ok then
      kong.log.err("could not tell of a change of ", dao.schema.name, ": ", err)
    end

    ctx.workspace = workspace -- Kong's handler of consumers unsets it (kong/runloop/events.lua)
  end

  await_workers()
end


return _M
