-- Every tag that scim-bridge reads or writes. kong_scim/sync/wanted.py makes the tags of a consumer, and
-- scim-bridge that of its last event.

local MANAGED = "scim"
local SUSPENDED = "scim:suspended"
local TENANT = "scim:"


local _M = {
  EVENT = "scim-event:", -- before the id of the last event that changed a consumer
}


--- The tags of an entity; an empty list where it has none.
local function tags_of(entity)
  return type(entity.tags) == "table" and entity.tags or {}
end


--- The tag of what a tenant owns.
function _M.of_tenant(tenant)
  return TENANT .. tenant
end


--- Whether an entity has a tag.
function _M.has(entity, tag)
  for _, each in ipairs(tags_of(entity)) do
    if each == tag then
      return true
    end
  end

  return false
end


--- Whether a consumer is suspended.
function _M.is_suspended(consumer)
  return _M.has(consumer, SUSPENDED)
end


--- What the tags of a consumer say: managed, suspended, tenant, user_id, last_event and revoked_at (in
-- seconds since 1970).
function _M.read(consumer)
  local said = { id = consumer.id }
  for _, tag in ipairs(tags_of(consumer)) do
    if tag == SUSPENDED then
      said.suspended = true
    elseif tag == MANAGED then
      said.managed = true
    else
      said.tenant = tag:match("^scim:(.+)$") or said.tenant
      said.user_id = tag:match("^scim%-user:(.+)$") or said.user_id
      said.last_event = tag:match("^scim%-event:(.+)$") or said.last_event
      said.revoked_at = tonumber(tag:match("^scim%-revoked%-at:(%d+)$")) or said.revoked_at
    end
  end

  return said
end


--- The tags of an entity with one of a prefix replaced.
-- @param tag the new one; nil for none
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
