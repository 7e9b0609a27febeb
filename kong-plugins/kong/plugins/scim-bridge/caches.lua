-- Invalidates Kong's caches after a commit. Kong's DAOs drop an entity from the caches when they write it. In
-- a transaction that is too early, because a request between the write and the COMMIT caches the old row
-- again.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local logins = require "kong.plugins.scim-bridge.logins"
local postgres = require "kong.plugins.scim-bridge.postgres"
local revocations = require "kong.plugins.scim-bridge.revocations"
local live_config = require "kong.plugins.scim-bridge.live_config"
local targets = require "kong.plugins.scim-bridge.targets"


local kong = kong


local EVENT = "scim-bridge"
local ACKS_WAIT = 1 -- seconds to wait at most until all workers have dropped their caches
local ACKS_WAIT_OF_REVOCATION = 0.1 -- the same if the guard refuses the consumers anyway (revocations.lua)
local ACKS_TTL = 10 -- seconds
local MESSAGE = 30000 -- bytes of keys in one event of Kong's workers, which take 65,535
local EVENTS_OF_STATEMENT = 10000 -- cluster events, so that the statement ends in time


local _M = {}


--- Returns the caches of changed entities by their cache keys.
function _M.keys(events)
  local keys, phase = {}, ngx.get_phase()
  for _, event in ipairs(events) do
    local dao = event.dao
    local name = dao.schema.name
    local cache = internals.cache_of(name)
    for _, entity in pairs({ event.entity, event.old_entity }) do
      local target = targets[name]
      if target and target.groups then -- kong.client of Enterprise caches all groups of a consumer so
        keys[dao:cache_key("", entity.consumer.id)] = cache
        keys[dao:cache_key(entity)] = cache
      elseif target then -- a membership is cached only with all of its consumer: plugins/acl/groups.lua
        keys[dao:cache_key(entity.consumer.id)] = cache
      else
        keys[dao:cache_key(entity)] = cache
      end
      if name == "consumers" and not event.quiet then
        if entity.username and entity.username ~= ngx.null then
          keys[dao:cache_key(entity.username)] = cache -- runloop/events.lua
        end
        for _, key in ipairs(logins.keys(entity)) do
          keys[key] = cache
        end
      end
    end
    internals.yield(true, phase)
  end

  return keys
end


--- Returns statements of the transaction by which every node, this one too, drops what changed from its
-- caches. They take effect even if this worker dies right after COMMIT, or if a request that read the old
-- row before COMMIT caches it later.
-- @param keys the result of `keys`
function _M.invalidations(connector, keys)
  local lists, statements = {}, {}
  for key, cache in pairs(keys) do
    local list = lists[cache]
    if not list or list[EVENTS_OF_STATEMENT] then
      list = envelope.array({})
      lists[cache] = list
      table.insert(statements, { cache, list })
    end
    list[#list + 1] = key
  end

  for i, each in ipairs(statements) do
    statements[i] = postgres.invalidations(internals.uuid(), internals.cluster_event_ttl() + 1,
                                           connector:escape_literal(internals.invalidation_channel(each[1])),
                                           connector:escape_literal(envelope.encode(each[2])))
  end

  return statements
end


--- Has each worker of this node forget keys, and waits until all did. Events reach a worker in their order.
-- @param keys caches by their keys
-- @param longest seconds to wait at most; nil to not wait
local function forget_everywhere(keys, longest)
  local acks = EVENT .. ":" .. internals.uuid()
  local phase, message, size = ngx.get_phase(), {}, 0
  local function send()
    internals.send_event(EVENT, "forget", message)
    message, size = {}, 0
  end

  for key, cache in pairs(keys) do
    internals.delete_shared(cache, key)
    internals.forget(cache, key)
    local name = internals.name_of(cache)
    message[name] = message[name] or {}
    table.insert(message[name], key)
    size = size + #key
    if size > MESSAGE then
      send()
    end
    internals.yield(true, phase)
  end

  message.acks = longest and acks
  if longest or size > 0 then
    send()
  end

  local deadline = ngx.now() + (longest or 0)
  while longest and (internals.shared():get(acks) or 0) < ngx.worker.count() do
    if ngx.now() > deadline then
      kong.log.warn("a worker has not dropped its caches after ", longest, " s")
      return
    end

    ngx.sleep(0.001)
    ngx.update_time()
  end
end


local function on_forget(message)
  for _, name in ipairs({ "cache", "core_cache" }) do
    for _, key in ipairs(message[name] or {}) do
      internals.forget(kong[name], key)
    end
  end

  if message.acks then
    internals.shared():incr(message.acks, 1, 0, ACKS_TTL)
  end
end


local function post_events(premature, events, workspace)
  internals.set_workspace(workspace)
  for _, event in ipairs(events) do
    if not event.quiet then
      internals.send_entity_event(event)
    end
    internals.yield(true, "timer")
  end
end


--- Tells whether a commit only made consumers, with their groups. Then nobody is refused or let in by what a
-- worker still has in its memory. A credential may be known to a worker as one that nobody has.
local function is_only_new(events)
  local made = {}
  for _, event in ipairs(events) do
    local name, entity = event.dao.schema.name, event.entity
    local of_new = name == "consumers" and made[entity.id] or targets[name] and made[entity.consumer.id]
    if name == "consumers" and event.operation == "create" then
      made[entity.id] = true
    elseif not of_new then
      return false
    end
  end

  return not revocations.any(events)
end


local function publish(events, is_revocation, keys)
  if not events[1] then
    return
  end

  revocations.lift(events)

  local longest = not is_only_new(events) and ACKS_WAIT or nil
  if kong.configuration.role == "control_plane" then -- which serves no requests from its caches
    longest = nil
  elseif is_revocation and live_config.is_guarded(internals.workspace()) then
    longest = ACKS_WAIT_OF_REVOCATION
  end

  forget_everywhere(keys or _M.keys(events), longest)
  if internals.has_database() then
    assert(ngx.timer.at(0, post_events, events, internals.workspace()))
  end
end


--- Waits until each worker has handled the events before this one, such as that of a new configuration.
function _M.await_workers()
  forget_everywhere({}, ACKS_WAIT)
end


function _M.init_worker()
  internals.on_event(on_forget, EVENT, "forget")
end


--- Drops all entities of SCIM's kinds from the caches of this node, and returns when that is done.
function _M.purge()
  local ok, err = pcall(function()
    kong.cache:purge()
    forget_everywhere({}, ACKS_WAIT)
  end)
  if not ok then
    kong.log.err("could not empty the caches: ", err)
  end
end


--- Drops what a commit changed from the caches of this node, and returns when that is done.
-- Kong's own events would do so some milliseconds later: they are queued, and each writes to the database
-- before the next is handled. They are sent afterwards, for the other nodes and for other listeners. A
-- DB-less Kong has no other nodes and sends none.
-- @param is_revocation the result of revocations.note() before the COMMIT
-- @param keys the result of `keys`, if it is known
function _M.publish(events, is_revocation, keys)
  local ok, err = pcall(publish, events, is_revocation, keys)
  if not ok then
    kong.log.err("could not tell of a commit, which holds nevertheless: ", err)
  end
end


return _M
