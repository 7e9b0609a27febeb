-- The guard: refuses who is suspended, and tells the log plugins who it was.

local array_mt = require("cjson").array_mt
local metrics = require "kong.plugins.scim-bridge.metrics"


local kong = kong


local _M = {}


--- The consumer of this request with all its tags.
-- Read by id: what an authentication plugin put there may be partial, or only a credential.
local function get_consumer()
  local consumer = kong.client.get_consumer()
  local credential = kong.client.get_credential()
  local id = consumer and consumer.id
             or credential and (credential.consumer_id or credential.consumer and credential.consumer.id)
  if not id then
    return
  end

  return kong.cache:get(kong.db.consumers:cache_key(id), nil, kong.client.load_consumer, id)
end


local function get_groups(consumer_id)
  local groups = setmetatable({}, array_mt)
  if not kong.db.daos.acls then
    return groups
  end

  local found, err = require("kong.plugins.acl.groups").get_consumer_groups(consumer_id)
  if err then
    kong.log.warn("could not read the groups of a consumer: ", err)
  end

  for i, group in ipairs(found or {}) do
    groups[i] = group
  end

  return groups
end


function _M.access()
  local consumer, err = get_consumer()
  if err then
    kong.log.err("could not read the consumer: ", err)
    return kong.response.exit(503, { message = "Whether this account is suspended is not known now" })
  end

  local suspended, managed = false, false
  local user_id, tenant, last_event
  for _, tag in ipairs(consumer and consumer.tags or {}) do
    if tag == "scim:suspended" then
      suspended = true
    elseif tag == "scim" then
      managed = true
    else
      tenant = tag:match("^scim:(.+)$") or tenant
      user_id = tag:match("^scim%-user:(.+)$") or user_id
      last_event = tag:match("^scim%-event:(.+)$") or last_event
    end
  end

  if managed then
    kong.log.set_serialize_value("scim", {
      user_id = user_id,
      tenant = tenant,
      groups = get_groups(consumer.id),
      last_event = last_event,
    })
  end

  if suspended then
    metrics.refused(tenant)
    return kong.response.exit(403, { message = "This account is suspended" })
  end
end


return _M
