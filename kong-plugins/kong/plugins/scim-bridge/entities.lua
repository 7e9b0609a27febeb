-- Runs the steps of a commit that write Kong's entities (upsert, delete, revoke, stamp) or guard them
-- (claim, vacant). They run in a transaction `tx`, of PostgreSQL (commit.lua) or of LMDB (memory.lua), which
-- has:
--   tx.db                             a view of kong.db whose DAOs write in the transaction
--   tx.events                         the events of these DAOs
--   tx.raise(err)                     raises a database error, which ends the transaction
--   tx.replace_tag(ids, prefix, tag)  replaces the tag of consumers that begins with a prefix
--   tx.claim(group, dao, tag, refuse) calls `refuse` with the name of a group if others give it, and the
--                                     tenant with the tag does not; nobody else can claim it until the end
-- A transaction of PostgreSQL also has:
--   tx.batch                          the statements that are not sent yet (batch.lua)
--   tx.write_set(tx, steps, first)    writes several steps by one statement (sets.lua)
--   tx.select(statement)              runs a statement now, and returns its rows
--   tx.on_behalf(id)                  lists what OAuth clients got on behalf of a consumer
--   tx.refuse_if_held(names, refuse)  calls `refuse` if a consumer has one of the names (lookups.lua)
--   tx.sql, tx.undo                   run steps that LMDB does not have

local clone = require "table.clone"
local consumer_credentials = require "kong.plugins.scim-bridge.consumer_credentials"
local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local lookups = require "kong.plugins.scim-bridge.lookups"
local memberships = require "kong.plugins.scim-bridge.memberships"
local owned_entities = require "kong.plugins.scim-bridge.owned_entities"
local postgres = require "kong.plugins.scim-bridge.postgres"
local tags = require "kong.plugins.scim-bridge.tags"
local targets = require "kong.plugins.scim-bridge.targets"


local expect    = envelope.expect
local given     = envelope.given
local result_of = envelope.result_of


-- steps that only a transaction of PostgreSQL has
local OF_DATABASE = { sql = true, undo = true }


local _M = {}
local ops = { revoke = consumer_credentials.revoke }


local function dao_of(tx, step)
  return expect(type(step.dao) == "string" and tx.db.daos[step.dao], "this Kong has no such `dao`")
end


local function is_present(tx, dao, entity)
  local key = expect(dao.schema.cache_key, "`unless_present` needs an entity with a cache key")
  if key[2] then
    return result_of(tx, dao:select_by_cache_key(entity))
  end

  return result_of(tx, dao["select_by_" .. key[1]](dao, entity[key[1]]))
end


--- Returns the target of a step whose groups are entities; nil for any other step.
local function target_with_groups(step)
  local target = targets[step.dao]
  return target and target.groups and target or nil
end


local function group_of(tx, target, name)
  local dao = expect(tx.db.daos[target.groups], "this Kong has no " .. target.groups)
  return result_of(tx, dao["select_by_" .. target.name](dao, name))
end


--- Returns the entity of a group, which is created if there is none.
-- @param membership the membership for which it is
function _M.group(tx, dao, membership)
  local target = targets[dao]
  local group = group_of(tx, target, membership.group)
  return group or result_of(tx, tx.db.daos[target.groups]:insert(
                              memberships.new_group(dao, membership.group, membership.tags)))
end


--- Returns the primary key of a membership whose group is an entity; nil if there is no such group.
function _M.membership_key(tx, dao, id)
  local consumer, name = memberships.parts_of(id)
  local group = group_of(tx, targets[dao], name)
  return group and memberships.row(dao, consumer, group.id)
end


--- Makes a consumer a member of a group that is an entity.
local function join(tx, dao, step)
  local membership = step.entity
  expect(type(membership.consumer) == "table" and type(membership.group) == "string",
         "a membership needs `consumer` and `group`")
  local row = memberships.row(step.dao, membership.consumer.id, _M.group(tx, step.dao, membership).id)
  if not result_of(tx, dao:select(clone(row))) then
    result_of(tx, dao:insert(row))
  end
end


local function leave(tx, dao, step)
  local key = _M.membership_key(tx, step.dao, step.id)
  if key then
    result_of(tx, dao:delete(key))
  end
end


function ops.upsert(tx, step)
  local dao, entity = dao_of(tx, step), step.entity
  expect(type(entity) == "table" and type(entity.id) == "string", "an upsert needs `entity` with an id")
  if target_with_groups(step) then
    return join(tx, dao, step)
  end

  if given(step.unless_present) then
    if not is_present(tx, dao, entity) then
      result_of(tx, dao:insert(entity))
    end
    return
  end

  -- the DAO's upsert would set absent fields to their defaults, and a new created_at
  local key = { id = entity.id }
  if result_of(tx, dao:select(key)) then
    local changes = clone(entity)
    changes.id = nil
    result_of(tx, dao:update(key, changes))
  elseif not given(step.if_present) then
    result_of(tx, dao:insert(entity))
  end
end


ops["delete"] = function(tx, step)
  local dao = dao_of(tx, step)
  expect(type(step.id) == "string", "a deletion needs `id`")
  if target_with_groups(step) then
    return leave(tx, dao, step)
  end

  if step.dao == "consumers" then
    consumer_credentials.end_on_behalf(tx, step.id)
  end

  result_of(tx, dao:delete({ id = step.id }))
end


--- Tells whether any entity refers to a group: a member, or a plugin.
local function is_used(tx, schema, id)
  for _, constraint in ipairs(schema:get_constraints()) do
    local dao = tx.db.daos[constraint.schema.name]
    for row, err, err_t in dao["each_for_" .. constraint.field_name](dao, { id = id }) do
      if result_of(tx, row, err, err_t) then
        return true
      end
    end
  end

  return false
end


--- Deletes the entity of a group that SCIM made, unless something refers to it.
function ops.retire(tx, step)
  local target = expect(target_with_groups(step), "this Kong has no groups of this `dao`")
  expect(type(step.group) == "string" and type(step.tag) == "string", "a retirement needs `group` and `tag`")

  local group, dao = group_of(tx, target, step.group), tx.db.daos[target.groups]
  if not (group and tags.has(group, step.tag) and owned_entities.is_owned(target.groups, group.id)) then
    return
  end

  if tx.select then -- else a member who joins at the same moment would be deleted with the group
    tx.select(postgres.lock_row(dao.schema, internals.connector():escape_literal(group.id)))
  end
  if not is_used(tx, dao.schema, group.id) then
    result_of(tx, dao:delete({ id = group.id }))
  end
end


--- Returns the ids of the consumers that this commit wrote, or whose groups or credentials it wrote.
local function touched(tx)
  local ids, seen = envelope.array({}), {}
  for _, event in ipairs(tx.events) do -- deleted consumers are left out
    if event.dao.schema.name == "consumers" and event.operation == "delete" then
      seen[event.entity.id] = true
    end
  end

  for _, event in ipairs(tx.events) do
    local entity = event.entity
    local consumer = event.dao.schema.name == "consumers" and entity or entity.consumer
    if type(consumer) == "table" and not seen[consumer.id] then
      seen[consumer.id] = true
      table.insert(ids, consumer.id)
    end
  end

  return ids
end


--- Writes the id of the last event into a tag of the consumers that it changed, and returns their ids.
-- This is not counted as a written entity, because then each event would have written something.
function ops.stamp(tx, step, result)
  expect(type(step.event) == "string", "a stamp needs `event`, an id")
  local ids = given(step.consumers) or touched(tx)
  if ids[1] then
    tx.replace_tag(ids, tags.EVENT, step.event ~= "" and tags.EVENT .. step.event or nil)
  end

  for i, id in ipairs(ids) do
    result.data[i] = { id = id }
  end
end


--- Fails for a group that only an administrator or another tenant gives, because it opens their routes.
function ops.claim(tx, step)
  expect(type(step.groups) == "table" and type(step.tag) == "string",
         "a claim needs `groups`, a list, and `tag`")
  local present = memberships.targets()
  local function refuse(group)
    envelope.raise("GROUP_TAKEN", "somebody else gives this group", { fields = { group = group } })
  end

  -- the groups are in the order of their keys, so that two transactions never deadlock
  for _, group in ipairs(step.groups) do
    for _, dao in ipairs(given(group.daos) or { "acls" }) do
      if present[dao] then
        tx.claim(group, dao, step.tag, refuse)
      end
    end
  end
end


--- Fails if a consumer has one of some ids or names.
function ops.vacant(tx, step)
  local function refuse()
    envelope.raise("NAMES_TAKEN", "a consumer has one of the names already")
  end

  local wanted = lookups.wanted(step)
  if tx.refuse_if_held then
    return tx.refuse_if_held(wanted, refuse)
  end

  for field, values in pairs(wanted) do
    for _, value in ipairs(values) do
      if result_of(tx, lookups.by_dao(tx.db.daos.consumers, field, value)) then
        refuse()
      end
    end
  end
end


-- steps that are statements themselves; before any other step, the statements that wait are sent
local BY_STATEMENT = { sql = true, claim = true, vacant = true }


local function run_step(tx, results, steps, i)
  local step = steps[i]
  local op = type(step) == "table" and type(step.op) == "string"
             and (ops[step.op] or OF_DATABASE[step.op] and tx[step.op])
  expect(op, "a step needs `op`: sql or undo (with PostgreSQL only), upsert, delete, revoke, stamp, claim, "
             .. "vacant or retire")

  local last = tx.write_set and tx.write_set(tx, steps, i)
  if last then
    return last
  end

  if BY_STATEMENT[step.op] then
    op(tx, step, results[i])
    return i
  end

  local found = op == ops.revoke and consumer_credentials.owned(tx, steps, i)
  if tx.batch then
    tx.batch:flush()
  end

  local before = #tx.events
  op(tx, step, results[i], found)
  tx.check()
  for j = before + 1, op ~= ops.stamp and #tx.events or 0 do
    tx.count(i, tx.events[j].dao.schema.name)
  end
  return i
end


--- Runs steps in order, and returns a list of their results.
-- @param tx.check is called after each step, and raises if the transaction is lost
function _M.run(tx, steps)
  local results = envelope.array({})
  for i in ipairs(steps) do
    results[i] = { rows = 0, data = envelope.array({}), entities = {} }
  end

  tx.written = {} -- how many entities, by operation and DAO

  --- Counts an entity that a step wrote.
  function tx.count(index, name)
    local entities, op = results[index].entities, steps[index].op
    tx.written[op] = tx.written[op] or {}
    for _, counts in ipairs({ entities, tx.written[op] }) do
      counts[name] = (counts[name] or 0) + 1
    end
  end

  local i = 1
  while i <= #steps do
    local step = steps[i]
    if tx.batch then
      tx.batch:of_step(i - 1, step)
    end

    local ok, last = pcall(envelope.at_step, i - 1, step, run_step, tx, results, steps, i)
    if not ok then
      if tx.batch then
        tx.batch:flush() -- an error of an earlier step comes first
      end
      error(last, 0)
    end
    i = last + 1
  end

  return results
end


return _M
