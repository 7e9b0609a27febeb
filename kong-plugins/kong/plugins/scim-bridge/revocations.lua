-- Whom this node suspended or deleted a moment ago, in memory that all its workers share. A worker's own
-- cache is emptied by an event, which a busy worker may handle late; the guard looks here on each request.

local internals = require "kong.plugins.scim-bridge.kong_internals"
local tags = require "kong.plugins.scim-bridge.tags"


local kong = kong


local PREFIX = "scim-bridge:revoked:"
-- seconds: until then each worker has handled its events, or polled those of the cluster (caches.lua);
-- no longer, since a reactivation at another node does not lift what is noted here
local TTL = (tonumber(kong.configuration.db_update_frequency) or 5) + 1


local _M = {}


--- Whether each consumer that a commit writes or deletes has no access after it, by its id.
local function outcomes(events)
  local revoked = {}
  for _, event in ipairs(events) do
    if event.dao.schema.name == "consumers" and not event.quiet then
      revoked[event.entity.id] = event.operation == "delete" or tags.is_suspended(event.entity)
    end
  end

  return revoked
end


--- Notes who has no access after a commit, right before it: the row locks of two commits on one consumer
-- put what they note and lift into their order, and where the COMMIT fails nobody knows whether it was done.
-- @return whether nobody else has anything changed by the commit, so that it may be answered before each
-- cache is empty
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


--- Lets those in again whom a commit gave access, after it.
function _M.lift(events)
  for id, is_revoked in pairs(outcomes(events)) do
    if not is_revoked then
      internals.shared():delete(PREFIX .. id)
    end
  end
end


function _M.is_revoked(id)
  return internals.shared():get(PREFIX .. id) ~= nil
end


return _M
