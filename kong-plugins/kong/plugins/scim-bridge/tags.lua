-- Reads and makes all tags that scim-bridge uses. kong_scim/sync/wanted.py makes the tags of a consumer,
-- except that of its last event, which scim-bridge makes.

local MANAGED = "scim"
local SUSPENDED = "scim:suspended"
local TENANT = "scim:"


local _M = {
  EVENT = "scim-event:", -- the prefix of the last event's id
}


--- Returns the tags of an entity, or an empty list.
local function tags_of(entity)
  return type(entity.tags) == "table" and entity.tags or {}
end


--- Returns the tag of entities that a tenant owns.
function _M.of_tenant(tenant)
  return TENANT .. tenant
end


--- Tells whether an entity has a tag.
function _M.has(entity, tag)
  for _, each in ipairs(tags_of(entity)) do
    if each == tag then
      return true
    end
  end

  return false
end


--- Tells whether a consumer is suspended.
function _M.is_suspended(consumer)
  return _M.has(consumer, SUSPENDED)
end


--- Returns the state of a consumer from its tags: id, managed, suspended, tenant, user_id, last_event and
-- revoked_at (in seconds since 1970).
function _M.read(consumer)
  local state = { id = consumer.id }
  for _, tag in ipairs(tags_of(consumer)) do
    if tag == SUSPENDED then
      state.suspended = true
    elseif tag == MANAGED then
      state.managed = true
    else
      state.tenant = tag:match("^scim:(.+)$") or state.tenant
      state.user_id = tag:match("^scim%-user:(.+)$") or state.user_id
      state.last_event = tag:match("^scim%-event:(.+)$") or state.last_event
      state.revoked_at = tonumber(tag:match("^scim%-revoked%-at:(%d+)$")) or state.revoked_at
    end
  end

  return state
end


--- Returns what a consumer's tags say, but for its last event, as a text that can be compared.
function _M.text(consumer)
  local kept = {}
  for _, each in ipairs(tags_of(consumer)) do
    if each:find(_M.EVENT, 1, true) ~= 1 then
      kept[#kept + 1] = each
    end
  end

  table.sort(kept)
  return table.concat(kept, ",")
end


--- Returns the tags of an entity, with the tag that begins with a prefix replaced.
-- @param tag the new tag; nil for none
function _M.replaced(entity, prefix, tag)
  local kept = {}
  for _, each in ipairs(tags_of(entity)) do
    if each:find(prefix, 1, true) ~= 1 then
      table.insert(kept, each)
    end
  end

  table.insert(kept, tag)
  return kept
end


return _M
