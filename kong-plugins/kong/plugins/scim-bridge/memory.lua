-- Runs commits on the entities of a DB-less Kong, which are rows of LMDB. They are read through Kong's
-- strategy (kong/db/strategies/off), changed in a draft, and written by the functions of Kong's incremental
-- sync (kong/db/declarative/import.lua) in one LMDB transaction. Kong's schemas and DAOs run as with
-- PostgreSQL, and the constraints that PostgreSQL checks are checked here.

local caches = require "kong.plugins.scim-bridge.caches"
local entities = require "kong.plugins.scim-bridge.entities"
local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local logins = require "kong.plugins.scim-bridge.logins"
local owned_entities = require "kong.plugins.scim-bridge.owned_entities"
local revocations = require "kong.plugins.scim-bridge.revocations"
local tags = require "kong.plugins.scim-bridge.tags"


local kong  = kong
local given = envelope.given
local null  = ngx.null


local OPERATIONS_HINT = 64
local PAGE = 1000
local DECLARED = "the gateway's configuration declares it, and it can be changed only there"
local LOADED = "the configuration was loaded anew since SCIM's rows were applied to it"


local _M = {}


--- Returns the row to store for an entity. Its time to live becomes the moment when it ends, as
-- kong/db/strategies/off reads it.
local function to_row(entity)
  local row = internals.deep_copy(entity)
  row.ws_id = kong.default_workspace
  row.cache_key = nil -- only PostgreSQL has it in the row
  if type(row.ttl) == "number" then
    row.ttl = row.ttl + ngx.time()
  end

  return row
end


local function to_entity(row)
  local entity = row and internals.deep_copy(row) or nil
  if entity and type(entity.ttl) == "number" then
    entity.ttl = entity.ttl - ngx.time()
  end

  return entity
end


local function is_set(value)
  return value ~= nil and value ~= null
end


--- Makes a strategy for one kind of entity that reads and writes a draft over the stored rows.
-- draft.rows: by id, { before = row or nil, after = row or nil }; draft.unique: ids by field and value
local function new_strategy(tx, dao)
  local schema, stored, errors = dao.schema, dao.strategy, dao.errors
  local draft = { schema = schema, rows = {}, unique = {} }
  local strategy = setmetatable({}, { __index = stored })
  table.insert(tx.drafts, draft)

  local function unique_values(row)
    local values = {}
    for name, field in schema:each_field() do
      if field.unique and is_set(row[name]) then
        values[name] = row[name]
      end
    end
    if schema.cache_key and schema.cache_key[2] then
      values.cache_key = dao:cache_key(row)
    end

    return values
  end

  local function note(id, after)
    local change = draft.rows[id]
    if not change then
      change = { before = stored:select({ id = id }) }
      if change.before and not owned_entities.is_owned(schema.name, id) then
        envelope.raise("DECLARED", DECLARED)
      end
      draft.rows[id] = change
    end

    for name, value in pairs(change.after and unique_values(change.after) or {}) do
      draft.unique[name .. ":" .. value] = nil
    end
    change.after = after
    for name, value in pairs(after and unique_values(after) or {}) do
      draft.unique[name .. ":" .. value] = id
    end
  end

  local function violation(row)
    for name, value in pairs(unique_values(row)) do
      local other = strategy:select_by_field(name, value)
      if other and other.id ~= row.id then
        local key = { [name] = value }
        if name == "cache_key" then
          key = {}
          for _, part in ipairs(schema.cache_key) do
            key[part] = row[part]
          end
        end
        return errors:unique_violation(key)
      end
    end

    for name, field in schema:each_field() do
      if field.type == "foreign" and is_set(row[name])
         and not tx.db.daos[field.reference].strategy:select(row[name])
      then
        return errors:foreign_key_violation_invalid_reference(row[name], name, field.reference)
      end
    end
  end

  local function put(row)
    local err_t = violation(row)
    if err_t then
      return nil, err_t
    end

    note(row.id, row)
    return to_entity(row)
  end

  function strategy:select(key, options)
    local change = draft.rows[key.id]
    if change then
      return to_entity(change.after)
    end

    return stored:select(key, options)
  end

  function strategy:select_by_field(name, value, options)
    local id = draft.unique[name .. ":" .. tostring(value)]
    if id then
      return to_entity(draft.rows[id].after)
    end

    local row, err = stored:select_by_field(name, value, options)
    return not (row and draft.rows[row.id]) and row or nil, err
  end

  function strategy:insert(entity)
    local key = { id = entity.id }
    if strategy:select(key) then
      return nil, errors:primary_key_violation(key)
    end

    return put(to_row(entity))
  end

  function strategy:update(key, changes)
    local entity = strategy:select(key)
    if not entity then
      return nil, errors:not_found(key)
    end

    for name, value in pairs(changes) do
      entity[name] = value
    end
    return put(to_row(entity))
  end

  -- also deletes what Kong's schema cascades, as it does for everything that belongs to a consumer
  function strategy:delete(key)
    for _, constraint in ipairs(schema:get_constraints()) do
      local child = tx.db.daos[constraint.schema.name].strategy
      for _, row in ipairs(child["page_for_" .. constraint.field_name](child, key)) do
        if constraint.on_delete ~= "cascade" then
          return nil, errors:foreign_key_violation_restricted(schema.name, constraint.schema.name)
        end
        child:delete({ id = row.id })
      end
    end

    note(key.id, nil)
    return true
  end

  for name, field in schema:each_field() do
    if field.type == "foreign" then
      strategy["page_for_" .. name] = function(_, key)
        local found, offset = {}, nil
        repeat
          local rows, err, more = stored["page_for_" .. name](stored, key, PAGE, offset)
          if not rows then
            return nil, err
          end
          for _, row in ipairs(rows) do
            if not draft.rows[row.id] then
              table.insert(found, row)
            end
          end
          offset = more and ngx.decode_base64(more) -- as the stored strategy's `page` does
        until not offset

        for _, change in pairs(draft.rows) do
          local after = change.after
          if after and is_set(after[name]) and after[name].id == key.id then
            table.insert(found, to_entity(after))
          end
        end

        return found
      end
    end
  end

  return strategy
end


--- Returns the epoch of a tenant, or nil. It is the value of a key in LMDB, which Kong deletes together with
-- SCIM's rows when it loads a configuration.
local function read_epoch(key)
  local value, err = internals.lmdb_get(key)
  if err then
    envelope.raise("DATABASE", "LMDB does not answer: " .. err)
  end

  return value
end


local function expect_epoch(epoch)
  local value = read_epoch(epoch.key)
  if value ~= given(epoch.expected) then
    envelope.raise("EPOCH_CHANGED", LOADED)
  end
end


local function write(tx, epoch)
  local t, phase = internals.lmdb_begin(OPERATIONS_HINT), ngx.get_phase()
  if epoch then
    t:get(epoch.key)
  end

  for _, side in ipairs({ "before", "after" }) do
    local apply = side == "before" and internals.delete_entity or internals.insert_entity
    for _, draft in ipairs(tx.drafts) do
      for _, change in pairs(draft.rows) do
        internals.yield(true, phase)
        if change[side] then
          assert(apply(t, draft.schema.name, change[side]))
        end
      end
    end
  end

  for _, draft in ipairs(tx.drafts) do
    local changes = {}
    for id, change in pairs(draft.rows) do
      -- to delete a row that is not there fails (docs/kong.md#deleting-an-absent-key-fails)
      if change.before or change.after then
        owned_entities.set_owned(t, draft.schema.name, id, change.after ~= nil)
        table.insert(changes, change)
      end
    end
    if draft.schema.name == "consumers" then
      logins.note(t, changes)
    end
  end

  if epoch and is_set(epoch.becomes) then
    t:set(epoch.key, epoch.becomes)
  end

  local ok, err = t:commit()
  if not ok then
    envelope.raise("DATABASE", "LMDB refuses: " .. err)
  end

  -- if another worker loaded a configuration after the check, the epoch is deleted, so that all is applied
  -- again
  if epoch and t[1].result ~= given(epoch.expected) then
    local forget = internals.lmdb_begin(1)
    forget:set(epoch.key, nil)
    forget:commit()
    envelope.raise("EPOCH_CHANGED", LOADED)
  end
end


local function replace_tag(tx, ids, prefix, tag)
  local consumers = tx.db.daos.consumers
  for _, id in ipairs(ids) do
    local consumer = consumers.strategy:select({ id = id })
    if consumer then
      local replaced = tags.replaced(consumer, prefix, tag)
      consumers.strategy:update({ id = id }, { tags = replaced, updated_at = ngx.time() })
      table.insert(tx.events, { dao = consumers, operation = "update", entity = consumer, quiet = true })
    end
  end
end


--- See entities.lua. LMDB has no index by group, but a search ends as soon as it has found one entity with
-- the tag for each group. It needs no lock, because only one commit runs at a time
-- (kong_scim/dbless/local_store.py).
local function taken(groups, tag)
  local phase, foreign, open = ngx.get_phase(), {}, {}
  for _, group in ipairs(groups) do
    open[group.name] = true
  end

  for acl, err in kong.db.acls:each(PAGE) do
    if err then
      envelope.raise("DATABASE", err)
    end

    if open[acl.group] then
      foreign[acl.group] = true
      if tags.has(acl, tag) then
        open[acl.group], foreign[acl.group] = nil, nil
      end
      if not next(open) then
        return
      end
    end
    internals.yield(true, phase)
  end

  for _, group in ipairs(groups) do
    if foreign[group.name] then
      return group.name
    end
  end
end


--- Commits steps on entities, all or none.
-- @param arg.epoch { key, expected, becomes }: nothing is written unless the epoch is `expected`, which is
-- null for none
-- @param arg.check whether the steps are only checked, and nothing is written
function _M.commit(arg)
  local epoch, events = given(arg.epoch), {}
  local tx = {
    events = events,
    drafts = {},
    check = function() end,
    raise = function(err)
      envelope.raise("DATABASE", "LMDB does not answer: " .. tostring(err))
    end,
  }
  tx.db = internals.recorder(events, function(dao)
    return new_strategy(tx, dao)
  end)

  function tx.replace_tag(...)
    replace_tag(tx, ...)
  end

  function tx.claim(groups, tag, refuse)
    local group = taken(groups, tag)
    if group then
      refuse(group)
    end
  end

  if epoch then
    expect_epoch(epoch)
  end

  local results = entities.run(tx, arg.steps)
  if not given(arg.check) then
    local is_revocation = revocations.note(events)
    write(tx, epoch)
    caches.publish(events, is_revocation)
  end

  return { results = results }
end


_M.read_epoch = read_epoch


return _M
