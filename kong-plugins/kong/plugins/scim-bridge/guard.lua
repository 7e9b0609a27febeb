-- The guard refuses suspended consumers, and logins from before a revocation. It runs on each request of each
-- API.

local decode_base64url = require("ngx.base64").decode_base64url
local decode_json = require("cjson.safe").decode
local claims = require "kong.plugins.scim-bridge.claims"
local consumers = require "kong.plugins.scim-bridge.consumers"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local log_fields = require "kong.plugins.scim-bridge.log_fields"
local logins = require "kong.plugins.scim-bridge.logins"
local metrics = require "kong.plugins.scim-bridge.metrics"
local revocations = require "kong.plugins.scim-bridge.revocations"
local subjects = require "kong.plugins.scim-bridge.subjects"


local kong = kong


local SUSPENDED = "This account is suspended"
local REVOKED = "This login began before access was revoked: log in again"
local GONE = "This account is no more"
local UNKNOWN = "This account is not known here"
local UNCERTAIN = "Whether this account is suspended is not known now"
local UNREADABLE = "Spell the username without escapes"


local _M = {}


--- Returns the consumers of this request with all their tags. A login without a consumer may mean several.
-- They are read by id, because an authentication plugin may set a part of a consumer, or only a credential.
-- @return a list, nil, and the message if the request is refused anyway; or nil and an error
local function get_consumers(conf)
  local partial, credential = kong.client.get_consumer(), kong.client.get_credential()
  local id = partial and partial.id
             or credential and (credential.consumer_id or credential.consumer and credential.consumer.id)
  local found, is_id = {}, consumers.is_known(partial) or internals.is_valid_uuid(id)
  if is_id then
    local consumer, err = consumers.load(id, partial)
    if err then
      return nil, err
    elseif not consumer then
      return found, nil, GONE
    end
    found[1] = consumer

    if not (credential and credential.client_id) then
      return found
    end
  elseif not (partial or credential) then
    return found
  end

  local names = logins.names(partial, credential, is_id)
  if not names then
    return found, nil, UNREADABLE
  end

  for _, name in ipairs(names) do
    local ids, err = logins.find(name)
    if err then
      return nil, err
    end

    for _, each in ipairs(ids) do
      local consumer
      consumer, err = consumers.load(each)
      if err then
        return nil, err
      end
      found[#found + 1] = consumer
    end
  end

  return found, nil, conf.unknown_logins == "refuse" and not found[1] and UNKNOWN or nil
end


--- Returns the session that authenticated this request (kong/plugins/session/access.lua), or nil.
local function get_session()
  local session = internals.session()
  if type(session) ~= "table" then
    return
  end

  -- another plugin may have authenticated a request that has the cookie of a session
  local credential = kong.client.get_credential()
  local ok, data = pcall(function() return session:get_data() end)
  local credential_id = ok and type(data) == "table" and data[2]
  return (type(credential_id) ~= "string" or not credential or credential.id == credential_id) and session
         or nil
end


--- Returns the claim `iat` of the token that authenticated this request (kong/plugins/jwt/handler.lua), or
-- nil.
local function get_issued_at()
  local token = internals.jwt()
  local payload = type(token) == "string" and token:match("^[^.]+%.([^.]+)%.")
  local claims = payload and decode_json(decode_base64url(payload) or "")
  return type(claims) == "table" and tonumber(claims.iat) or nil
end


--- Tells whether the session or token of this request began by a moment. Times are in whole seconds, so one
-- that began in the same second counts too, because it may have begun before.
local function began_by(moment)
  local session = get_session()
  for _, meta in pairs(session and { session.meta or {}, session.remember_meta or {} } or {}) do
    if meta.creation_time and meta.creation_time <= moment then
      return true
    end
  end

  local issued_at = get_issued_at()
  return issued_at ~= nil and issued_at < moment + 1
end


local function end_session()
  local session = internals.session()
  if type(session) == "table" and session.destroy then
    local ok, done, err = pcall(session.destroy, session)
    if not ok or not done then
      kong.log.notice("a session is refused, and could not be ended: ", ok and err or done)
    end
    internals.forget_session()
  end
end


--- Refuses the request, and ends its session. It also removes the credential, because the session plugin
-- would begin another session for it in its header_filter phase.
local function refuse(message, tenant, consumer)
  metrics.refused(tenant)
  end_session()

  local credential = kong.client.get_credential()
  consumer = consumer or kong.client.get_consumer()
  if credential and consumer then
    kong.log.set_serialize_value("authenticated_entity", { id = credential.id, consumer_id = consumer.id })
    kong.client.authenticate(consumer, nil)
  end

  return kong.response.exit(403, { message = message })
end


--- Refuses a request whose verified claims name somebody who is disabled or deleted, or was so when the token
-- was issued.
local function check_subjects(conf)
  local workspace = internals.workspace()
  local named, err = claims.subjects(conf, workspace)
  if err then
    kong.log.err("could not read whom the claims name: ", err)
    return kong.response.exit(503, { message = UNCERTAIN })
  end

  for _, each in ipairs(named or {}) do
    local not_before, is_uncertain = subjects.not_before(workspace, each.subject)
    if is_uncertain then
      return kong.response.exit(503, { message = UNCERTAIN })
    elseif not_before and not_before >= subjects.FOREVER then
      return refuse(SUSPENDED, each.tenant)
    elseif not_before and not (each.issued_at and each.issued_at >= not_before + 1) then
      return refuse(REVOKED, each.tenant)
    end
  end
end


function _M.access(_, conf)
  local found, err, message = get_consumers(conf)
  if err then
    kong.log.err("could not read the consumer: ", err)
    return kong.response.exit(503, { message = UNCERTAIN })
  elseif message then
    return refuse(message)
  end

  local logged
  for _, consumer in ipairs(found) do
    local state = consumers.state(consumer)
    if state.managed and not logged then
      logged = true
      log_fields.set(state)
    end

    if state.suspended or revocations.is_revoked(state.id) then
      return refuse(SUSPENDED, state.tenant, consumer)
    elseif state.revoked_at and began_by(state.revoked_at) then
      return refuse(REVOKED, state.tenant, consumer)
    end
  end

  return check_subjects(conf)
end


return _M
