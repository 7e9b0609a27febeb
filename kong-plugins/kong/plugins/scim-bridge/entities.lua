-- Runs the steps of a commit that write Kong's entities (upsert, delete, revoke, stamp) or guard them
-- (claim, vacant). They run in a transaction `tx`, of PostgreSQL (commit.lua) or of LMDB (memory.lua), which
-- has:
--   tx.db                             a view of kong.db whose DAOs write in the transaction
--   tx.events                         the events of these DAOs
--   tx.raise(err)                     raises a database error, which ends the transaction
--   tx.replace_tag(ids, prefix, tag)  replaces the tag of consumers that begins with a prefix
--   tx.claim(groups, tag, refuse)     calls `refuse` with the first of some ACL groups that consumers are in,
--                                     but none by an entity with the tag; nobody else can claim the groups
--                                     until the end
-- A transaction of PostgreSQL also has:
--   tx.batch                          the statements that are not sent yet (batch.lua)
--   tx.write_set(tx, steps, first)    writes several steps by one statement (sets.lua)
--   tx.select(statement)              runs a statement now, and returns its rows
--   tx.on_behalf(id)                  lists what OAuth clients got on behalf of a consumer
--   tx.refuse_if_held(names, refuse)  calls `refuse` if a consumer has one of the names (lookups.lua)
--   tx.sql, tx.undo                   run steps that LMDB does not have

local clone = require "table.clone"
local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local lookups = require "kong.plugins.scim-bridge.lookups"
local postgres = require "kong.plugins.scim-bridge.postgres"
local tags = require "kong.plugins.scim-bridge.tags"
local targets = require "kong.plugins.scim-bridge.targets"


local kong   = kong
local expect = envelope.expect
local given  = envelope.given


-- entities that belong to a consumer and are no credentials, beside the memberships of targets
local NO_CREDENTIALS = {
  consumer_group_consumers = true,
  plugins = true,
}

-- steps that only a transaction of PostgreSQL has
local OF_DATABASE = { sql = true, undo = true }


local _M = {}
local ops = {}


--- Returns the result of a DAO, or raises its error with Kong's code, name ("schema violation", ...), message
-- and fields.
local function result_of(tx, result, err, err_t)
  if not err then
    return result
  elseif not err_t or err_t.code == kong.db.errors.codes.DATABASE_ERROR then
    tx.raise(err)
  end

  envelope.raise(err_t.name, err_t.message, { code = err_t.code, fields = err_t.fields })
end


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


function ops.upsert(tx, step)
  local dao, entity = dao_of(tx, step), step.entity
  expect(type(entity) == "table" and type(entity.id) == "string", "an upsert needs `entity` with an id")
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
  else
    result_of(tx, dao:insert(entity))
  end
end


--- Deletes what OAuth clients got on behalf of a consumer's person. It belongs to the client, and has only
-- the name of the person (kong/plugins/oauth2/daos.lua).
local function end_on_behalf(tx, consumer)
  for _, found in ipairs(tx.on_behalf and tx.on_behalf(consumer) or {}) do
    result_of(tx, tx.db.daos[found.dao]:delete({ id = found.id }))
  end
end


ops["delete"] = function(tx, step)
  local dao = dao_of(tx, step)
  expect(type(step.id) == "string", "a deletion needs `id`")
  if step.dao == "consumers" then
    end_on_behalf(tx, step.id)
  end

  result_of(tx, dao:delete({ id = step.id }))
end


--- Returns the DAOs of all credentials, each with the field that names the consumer.
function _M.credentials(db)
  local found = {}
  for _, constraint in ipairs(kong.db.consumers.schema:get_constraints()) do
    local name = constraint.schema.name
    local dao = not NO_CREDENTIALS[name] and not targets[name] and db.daos[name]
    if dao then
      table.insert(found, { dao = dao, field = constraint.field_name })
    end
  end

  return found
end


local function rows_of(tx, dao, field, id)
  local rows = {}
  for row, err, err_t in dao["each_for_" .. field](dao, { id = id }) do
    table.insert(rows, result_of(tx, row, err, err_t))
  end

  return rows
end


--- Deletes the entities that were issued to a credential, such as the tokens of an OAuth client.
local function end_issued(tx, dao, credential)
  for _, constraint in ipairs(dao.schema:get_constraints()) do
    local issued = tx.db.daos[constraint.schema.name]
    for _, row in ipairs(issued and rows_of(tx, issued, constraint.field_name, credential.id) or {}) do
      result_of(tx, issued:delete(row))
    end
  end
end


--- Returns a table by consumer and DAO of those credentials that the consumers of a run of revocations have.
-- It is read by one statement, because most kinds of credentials have no row of most consumers.
-- @return nil if the transaction has no statements
local function owned(tx, steps, first)
  if not tx.select or not tx.batch.together then
    return
  elseif tx.owned and first <= tx.owned.last then
    return tx.owned
  end

  local found, ids, i = {}, envelope.array({}), first
  while type(steps[i]) == "table" and steps[i].op == "revoke" do
    if type(steps[i].consumer) == "string" then
      table.insert(ids, steps[i].consumer)
    end
    i = i + 1
  end

  local kinds = _M.credentials(tx.db)
  local literal = internals.connector():escape_literal(envelope.encode(ids))
  for _, row in ipairs(kinds[1] and tx.select(postgres.owners(kinds, literal)) or {}) do
    found[row.owner] = found[row.owner] or {}
    found[row.owner][row.dao] = true
  end

  found.last = i - 1
  tx.owned = found
  return found
end


function ops.revoke(tx, step, _, found)
  expect(type(step.consumer) == "string", "a revocation needs `consumer`, an id")

  local only_issued = given(step.issued)
  for _, kind in ipairs(_M.credentials(tx.db)) do
    local is_there = not found or found[step.consumer] and found[step.consumer][kind.dao.schema.name]
    for _, credential in ipairs(is_there and rows_of(tx, kind.dao, kind.field, step.consumer) or {}) do
      if only_issued then
        end_issued(tx, kind.dao, credential)
      else
        result_of(tx, kind.dao:delete(credential))
      end
    end
  end

  end_on_behalf(tx, step.consumer)
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


--- Fails for an ACL group that only an administrator or another tenant gives, because it opens their routes.
function ops.claim(tx, step)
  expect(type(step.groups) == "table" and type(step.tag) == "string",
         "a claim needs `groups`, a list, and `tag`")
  if kong.db.daos.acls and step.groups[1] then
    tx.claim(step.groups, step.tag, function(group)
      envelope.raise("GROUP_TAKEN", "somebody else gives this ACL group", { fields = { group = group } })
    end)
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
  expect(op, "a step needs `op`: sql or undo (with PostgreSQL only), upsert, delete, revoke, stamp, claim or "
             .. "vacant")

  local last = tx.write_set and tx.write_set(tx, steps, i)
  if last then
    return last
  end

  if BY_STATEMENT[step.op] then
    op(tx, step, results[i])
    return i
  end

  local found = op == ops.revoke and owned(tx, steps, i)
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
