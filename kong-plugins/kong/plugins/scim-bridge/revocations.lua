-- Notes the consumers that this node has just suspended or deleted, in memory that all its workers share. An
-- event empties a worker's own cache, and a busy worker may handle it late, so the guard looks here on each
-- request.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local tags = require "kong.plugins.scim-bridge.tags"


local kong = kong


local PREFIX = "scim-bridge:revoked:"
-- seconds after which each worker has handled its events, or polled those of the cluster (caches.lua); no
-- longer, because a reactivation at another node does not delete the note here
local TTL = (tonumber(kong.configuration.db_update_frequency) or 5) + 1


local _M = {
  PREFIX = PREFIX, -- access_changes.lua makes further notes on a data plane
}


--- Returns by id, for each consumer that a commit writes or deletes, whether it has no access afterwards.
local function outcomes(events)
  local revoked = {}
  for _, event in ipairs(events) do
    if event.dao.schema.name == "consumers" and not event.quiet then
      revoked[event.entity.id] = event.operation == "delete" or tags.is_suspended(event.entity)
    end
  end

  return revoked
end


--- Returns for the data planes who has no access after a commit, and who got it back.
-- @return { revoked = ids, lifted = a list of { id, tags = tags.text() } }
function _M.changes(events)
  local suspended, present = {}, {} -- before the commit, and after it
  for _, event in ipairs(events) do
    if event.dao.schema.name == "consumers" and not event.quiet then
      local old = event.old_entity
      if old and suspended[old.id] == nil then
        suspended[old.id] = tags.is_suspended(old)
      end
      present[event.entity.id] = event.entity
    end
  end

  local changes = { revoked = envelope.array({}), lifted = envelope.array({}) }
  for id, is_revoked in pairs(outcomes(events)) do
    if is_revoked then
      table.insert(changes.revoked, id)
    elseif suspended[id] then
      table.insert(changes.lifted, { id = id, tags = tags.text(present[id]) })
    end
  end

  return changes
end


--- Tells whether a commit suspends or deletes a consumer.
function _M.any(events)
  for _, is_revoked in pairs(outcomes(events)) do
    if is_revoked then
      return true
    end
  end

  return false
end


--- Notes the consumers that have no access after a commit. It is called right before COMMIT: the commit still
-- holds their row locks, so the notes of two commits on one consumer are in order, and if COMMIT fails,
-- nobody knows whether it took effect.
-- @return whether the commit changes only noted consumers, so that it may be answered before all caches are
-- empty
function _M.note(events)
  local revoked = outcomes(events)
  local noted = {}
  for id, is_revoked in pairs(revoked) do
    if is_revoked then
      local ok, err = internals.shared():safe_set(PREFIX .. id, true, TTL)
      noted[id] = ok
      if not ok then
        kong.log.warn("a revocation holds when the caches of all workers are empty: ", err)
      end
    end
  end

  for _, event in ipairs(events) do
    local entity = event.entity
    local consumer = event.dao.schema.name == "consumers" and entity or entity.consumer
    if type(consumer) ~= "table" or not noted[consumer.id] then
      return false
    end
  end

  return true
end


--- Deletes the notes of consumers that have access after a commit. It is called after COMMIT.
function _M.lift(events)
  for id, is_revoked in pairs(outcomes(events)) do
    if not is_revoked then
      internals.shared():delete(PREFIX .. id)
    end
  end
end


--- Tells whether there is a note that a consumer has no access. A negative number is a note of
-- access_changes.lua that it has.
function _M.is_revoked(id)
  local note = internals.shared():get(PREFIX .. id)
  return note == true or type(note) == "number" and note > 0
end


return _M
