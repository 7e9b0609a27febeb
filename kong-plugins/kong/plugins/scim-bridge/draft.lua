-- A draft over the stored rows of a DB-less Kong: DAOs write their entities into it, and read them there. It
-- checks the constraints that PostgreSQL would check. memory.lua writes the draft into LMDB.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local memberships = require "kong.plugins.scim-bridge.memberships"
local owned_entities = require "kong.plugins.scim-bridge.owned_entities"


local kong = kong
local given = envelope.given


local PAGE = 1000
local DECLARED = "the gateway's configuration declares it, and it can be changed only there"


local _M = {}


--- Makes an entity the row to store. Its time to live becomes the moment when it ends, as
-- kong/db/strategies/off reads it.
function _M.to_row(entity)
  entity.ws_id = kong.default_workspace
  entity.cache_key = nil -- only PostgreSQL has it in the row
  if type(entity.ttl) == "number" then
    entity.ttl = entity.ttl + ngx.time()
  end

  return entity
end


local function to_entity(row)
  local entity = row and internals.deep_copy(row) or nil
  if entity and type(entity.ttl) == "number" then
    entity.ttl = entity.ttl - ngx.time()
  end

  return entity
end


--- Makes a strategy for one kind of entity that reads and writes a draft over the stored rows.
-- draft.rows: by primary key, { before = row or nil, after = row or nil }
-- draft.unique: primary keys by field and value
function _M.new_strategy(tx, dao)
  local schema, stored, errors = dao.schema, dao.strategy, dao.errors
  local draft = { schema = schema, rows = {}, unique = {} }
  local strategy = setmetatable({}, { __index = stored })
  table.insert(tx.drafts, draft)

  local function key_of(row)
    return memberships.key_of(schema, row)
  end

  local function primary_key(row)
    local key = {}
    for _, name in ipairs(schema.primary_key) do
      key[name] = row[name]
    end
    return key
  end

  local function unique_values(row)
    local values = {}
    for name, field in schema:each_field() do
      if field.unique and given(row[name]) then
        values[name] = row[name]
      end
    end
    if schema.cache_key and schema.cache_key[2] then
      values.cache_key = dao:cache_key(row)
    end

    return values
  end

  local function note(key, after)
    local id = key_of(key)
    local change = draft.rows[id]
    if not change then
      change = { before = stored:select(key) }
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
      if other and key_of(other) ~= key_of(row) then
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
      if field.type == "foreign" and given(row[name])
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

    note(primary_key(row), row)
    return to_entity(row)
  end

  function strategy:select(key, options)
    local change = draft.rows[key_of(key)]
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
    return not (row and draft.rows[key_of(row)]) and row or nil, err
  end

  function strategy:insert(entity)
    local key = primary_key(entity)
    if strategy:select(key) then
      return nil, errors:primary_key_violation(key)
    end

    return put(_M.to_row(internals.deep_copy(entity)))
  end

  function strategy:update(key, changes)
    local entity = strategy:select(key)
    if not entity then
      return nil, errors:not_found(key)
    end

    for name, value in pairs(changes) do
      entity[name] = value
    end
    return put(_M.to_row(internals.deep_copy(entity)))
  end

  -- also deletes what Kong's schema cascades, as it does for everything that belongs to a consumer
  function strategy:delete(key)
    for _, constraint in ipairs(schema:get_constraints()) do
      local child = tx.db.daos[constraint.schema.name].strategy
      for _, row in ipairs(child["page_for_" .. constraint.field_name](child, key)) do
        if constraint.on_delete ~= "cascade" then
          return nil, errors:foreign_key_violation_restricted(schema.name, constraint.schema.name)
        end
        child:delete(child.primary_key(row))
      end
    end

    note(primary_key(key), nil)
    return true
  end

  strategy.primary_key = primary_key

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
            if not draft.rows[key_of(row)] then
              table.insert(found, row)
            end
          end
          offset = more and ngx.decode_base64(more) -- as the stored strategy's `page` does
        until not offset

        for _, change in pairs(draft.rows) do
          local after = change.after
          if after and given(after[name]) and after[name].id == key.id then
            table.insert(found, to_entity(after))
          end
        end

        return found
      end
    end
  end

  return strategy
end


return _M
