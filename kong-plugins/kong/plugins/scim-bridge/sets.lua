-- Writes the entities of several steps by one statement of SQL, where Kong's DAOs would run several for each.
-- Kong's schemas validate the entities as the DAOs do. If a set cannot be written, the commit begins anew and
-- runs each step by its DAO (commit.lua), which raises the error that belongs to it.

local entities = require "kong.plugins.scim-bridge.entities"
local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local memberships = require "kong.plugins.scim-bridge.memberships"
local postgres = require "kong.plugins.scim-bridge.postgres"
local targets = require "kong.plugins.scim-bridge.targets"


local kong  = kong
local given = envelope.given


local LARGEST = 2000 -- steps of one set, whose statement must end in time


local _M = {}
local writers = {}


--- Returns the name of the function that writes a set of steps like this one; nil if there is none.
local function writer_of(step)
  if type(step) ~= "table" then
    return
  elseif step.op == "delete" and targets[step.dao] and type(step.id) == "string" then
    return "take"
  elseif step.op ~= "upsert" or type(step.entity) ~= "table" or type(step.entity.id) ~= "string" then
    return
  elseif step.dao == "consumers" and type(step.entity.username) == "string" and not given(step.unless_present)
  then
    return "upsert_consumers"
  elseif targets[step.dao] and given(step.unless_present) then
    return "give"
  end
end


--- Makes the commit begin anew, with a DAO for each step.
local function give_up(reason)
  envelope.raise("BAD_REQUEST", reason, { is_unclear = true })
end


--- Returns the row of a new entity for PostgreSQL, and the entity as a DAO returns it.
local function new_row(dao, entity)
  local schema = dao.schema
  local filled = schema:process_auto_fields(entity, "insert")
  if not filled or not schema:validate_insert(filled, entity) then
    give_up("an entity is not valid")
  end

  local row, created = { ws_id = internals.workspace() }, {}
  for name, field in schema:each_field() do
    local value = filled[name]
    if value ~= nil and value ~= ngx.null then
      created[name] = value
    end
    if field.type == "foreign" then
      row[name .. "_id"] = type(value) == "table" and value.id or ngx.null
    else
      row[name] = value == nil and ngx.null or value
    end
  end
  if schema.cache_key and schema.cache_key[2] then
    row.cache_key = dao:cache_key(created)
  end

  return row, created
end


local function json_literal(tx, list)
  return tx.connector:escape_literal(envelope.encode(envelope.array(list)))
end


local function workspace_literal(tx)
  return tx.connector:escape_literal(internals.workspace())
end


--- Calls a function for each step of a set, and lets other requests run in between.
local function each_step(steps, first, last, fn)
  local phase = ngx.get_phase()
  for i = first, last do
    fn(steps[i], i)
    internals.yield(true, phase)
  end
end


local function add_event(tx, dao, operation, entity, old_entity)
  table.insert(tx.events, { dao = dao, operation = operation, entity = entity, old_entity = old_entity })
end


--- Returns a function that finds what belongs to the name of a group once, however many members it has.
local function by_group(find)
  local known = {}
  return function(name, ...)
    if known[name] == nil then
      known[name] = find(name, ...) or false
    end
    return known[name]
  end
end


--- Inserts memberships that are not there yet.
function writers.give(tx, steps, first, last)
  local name = steps[first].dao
  local dao, has_groups = kong.db.daos[name], targets[name].groups ~= nil
  local rows, made = {}, {}
  if has_groups then
    tx.batch:flush()
  end

  local group_of = by_group(function(_, membership)
    local group = entities.group(tx, name, membership)
    tx.check()
    return group
  end)
  each_step(steps, first, last, function(step, i)
    local given_entity = step.entity
    if has_groups then
      local before = #tx.events
      local group = group_of(given_entity.group, given_entity)
      for j = before + 1, #tx.events do
        tx.count(i, tx.events[j].dao.schema.name)
      end
      given_entity = memberships.row(name, given_entity.consumer.id, group.id)
    end

    local row, entity = new_row(dao, given_entity)
    rows[#rows + 1] = row
    made[memberships.key_of(dao.schema, entity)] = { index = i, entity = entity }
  end)

  tx.batch:add(postgres.insert_absent(dao.schema, json_literal(tx, rows)), {
    awaited = true,
    on_answer = function(answer)
      for _, row in ipairs(answer) do
        local new = made[memberships.key_of(dao.schema, postgres.entity(dao.schema, row))]
        add_event(tx, dao, "create", new.entity)
        tx.count(new.index, dao.schema.name)
      end
    end,
  })
end


--- Returns the statement that deletes memberships whose groups are entities; nil if no such group is there.
-- @param index gets the index of the step of each, by its primary key
local function deletion_by_keys(tx, dao, steps, first, last, index)
  tx.batch:flush()
  local rows = {}
  local group_of = by_group(function(_, id)
    local key = entities.membership_key(tx, dao.schema.name, id)
    return key and key[targets[dao.schema.name].group].id
  end)
  for i = first, last do
    local consumer, name = memberships.parts_of(steps[i].id)
    local group = group_of(name, steps[i].id)
    if group then
      local key = memberships.row(dao.schema.name, consumer, group)
      index[memberships.key_of(dao.schema, key)] = i
      local row = {}
      for field, value in pairs(key) do
        row[field .. "_id"] = value.id
      end
      rows[#rows + 1] = row
    end
  end

  return rows[1] and postgres.delete_by_keys(dao.schema, json_literal(tx, rows))
end


--- Deletes memberships.
function writers.take(tx, steps, first, last)
  local dao, ids, index = kong.db.daos[steps[first].dao], {}, {}
  local statement
  if targets[dao.schema.name].groups then
    statement = deletion_by_keys(tx, dao, steps, first, last, index)
  else
    for i = first, last do
      ids[#ids + 1], index[steps[i].id] = steps[i].id, i
    end
    statement = postgres.delete(dao.schema, json_literal(tx, ids), workspace_literal(tx))
  end

  if statement then
    tx.batch:add(statement, {
      awaited = true,
      on_answer = function(answer)
        for _, row in ipairs(answer) do
          local entity = postgres.entity(dao.schema, row)
          add_event(tx, dao, "delete", entity)
          tx.count(index[memberships.key_of(dao.schema, entity)], dao.schema.name)
        end
      end,
    })
  end
end


--- Returns the fields that an upsert changes, in order.
local function changed_fields(schema, entity)
  local names = {}
  for name in schema:each_field() do
    if entity[name] ~= nil and name ~= "id" or name == "updated_at" then
      names[#names + 1] = name
    end
  end

  return names
end


--- Inserts consumers, or replaces the given fields of those that exist.
function writers.upsert_consumers(tx, steps, first, last)
  local dao = kong.db.consumers
  local schema = dao.schema
  local ids, rows, made = {}, {}, {}
  local changes, key
  each_step(steps, first, last, function(step, i)
    local names = changed_fields(schema, step.entity)
    key, changes = key or table.concat(names, " "), changes or names
    if key ~= table.concat(names, " ") then
      give_up("entities with different fields are no set")
    end

    local row, entity = new_row(dao, step.entity)
    rows[#rows + 1], ids[#ids + 1] = row, row.id
    made[row.id] = { index = i, entity = entity, given = step.entity }
  end)

  local before = {}
  tx.batch:add(postgres.select(schema, json_literal(tx, ids), workspace_literal(tx)), {
    on_answer = function(answer)
      for _, row in ipairs(answer) do
        before[row.id] = postgres.entity(schema, row)
      end
    end,
  })

  tx.batch:add(postgres.upsert(schema, json_literal(tx, rows), changes), {
    awaited = true,
    on_answer = function(answer)
      if answer.affected_rows ~= #rows then
        give_up("another workspace has an entity with this id")
      end

      for _, row in ipairs(rows) do
        local old, new, written = before[row.id], made[row.id].entity, made[row.id].given
        for name, value in pairs(old or {}) do
          if written[name] == nil and name ~= "updated_at" then
            new[name] = value
          end
        end
        add_event(tx, dao, old and "update" or "create", new, old)
        tx.count(made[row.id].index, schema.name)
      end
    end,
  })
end


--- Writes the set of steps that begins with a given one.
-- @return the index of its last step; nil if that step is of no set
function _M.write(tx, steps, first)
  local writer = writer_of(steps[first])
  if not writer or not tx.batch.together then
    return
  end

  local last = first
  while last - first < LARGEST - 1 and writer_of(steps[last + 1]) == writer
        and steps[last + 1].dao == steps[first].dao
  do
    last = last + 1
  end

  writers[writer](tx, steps, first, last)
  return last
end


return _M
