-- Runs commits on the entities of a DB-less Kong, which are rows of LMDB. They are read through Kong's
-- strategy (kong/db/strategies/off), changed in a draft, and written by the functions of Kong's incremental
-- sync (kong/db/declarative/import.lua) in one LMDB transaction. Kong's schemas and DAOs run as with
-- PostgreSQL, and the constraints that PostgreSQL checks are checked here.

local caches = require "kong.plugins.scim-bridge.caches"
local drafts = require "kong.plugins.scim-bridge.draft"
local entities = require "kong.plugins.scim-bridge.entities"
local envelope = require "kong.plugins.scim-bridge.envelope"
local epochs = require "kong.plugins.scim-bridge.epoch"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local logins = require "kong.plugins.scim-bridge.logins"
local owned_entities = require "kong.plugins.scim-bridge.owned_entities"
local ready_rows = require "kong.plugins.scim-bridge.ready_rows"
local revocations = require "kong.plugins.scim-bridge.revocations"
local subjects = require "kong.plugins.scim-bridge.subjects"
local tags = require "kong.plugins.scim-bridge.tags"
local targets = require "kong.plugins.scim-bridge.targets"


local kong  = kong
local given = envelope.given


local OPERATIONS_HINT = 64
local PAGE = 100 -- each entity of a page is decoded, also those after the one that is sought
local REMEMBERED = 10000 -- groups of which a worker remembers an entity


local _M = {}


local function write(tx, epoch)
  local t, phase = epochs.begin(epoch, OPERATIONS_HINT), ngx.get_phase()
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

  epochs.commit(t, epoch)
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


local given_by, count = {}, 0 -- by DAO, tag and group, the id of a membership by which the tenant gives it


--- Tells whether the tenant with a tag still gives a group by the membership that is remembered.
local function is_still_given(key, dao, name, tag)
  if not given_by[key] then
    return false
  end

  local row, err = kong.db.daos[dao]:select({ id = given_by[key] })
  if err then
    envelope.raise("DATABASE", err)
  end
  return row ~= nil and row[targets[dao].name] == name and tags.has(row, tag)
end


local function remember(key, id)
  if count >= REMEMBERED then
    given_by, count = {}, 0
  end
  given_by[key], count = id, count + 1
end


--- Tells whether others give a group whose name is in its memberships, and the tenant with a tag does not.
-- LMDB has no index by that name, so all are read until one with the tag is found.
local function is_foreign(key, dao, name, tag)
  local target, found, phase = targets[dao], false, ngx.get_phase()
  for row, err in kong.db.daos[dao]:each(PAGE) do
    if err then
      envelope.raise("DATABASE", err)
    end

    if row[target.name] == name then
      if tags.has(row, tag) then
        remember(key, row.id)
        return false
      end
      found = true
    end
    internals.yield(true, phase)
  end

  return found
end


--- See entities.lua. It needs no lock, because only one commit runs at a time
-- (kong_scim/dbless/local_store.py).
local function is_taken(name, dao, tag)
  local target = targets[dao]
  if target.groups then
    local groups = kong.db.daos[target.groups]
    local group, err = groups["select_by_" .. target.name](groups, name)
    if err then
      envelope.raise("DATABASE", err)
    end
    return group ~= nil and not tags.has(group, tag)
  end

  local key = dao .. " " .. tag .. " " .. name -- a tag has no blank
  return not is_still_given(key, dao, name, tag) and is_foreign(key, dao, name, tag)
end


--- Makes the transactions of one commit. They share the draft, and each has the events of its own steps.
local function transactions()
  local first = { drafts = {} }
  local strategies = {}

  local function strategy_of(dao)
    local name = dao.schema.name
    strategies[name] = strategies[name] or drafts.new_strategy(first, dao)
    return strategies[name]
  end

  local function new(tx)
    tx.events, tx.check = {}, function() end

    function tx.claim(group, dao, tag, refuse)
      if is_taken(group.name, dao, tag) then
        refuse(group.name)
      end
    end

    tx.db = internals.recorder(tx.events, strategy_of)

    function tx.raise(err)
      envelope.raise("DATABASE", "LMDB does not answer: " .. tostring(err))
    end

    function tx.replace_tag(...)
      replace_tag(tx, ...)
    end

    return tx
  end

  new(first)
  return first, new
end


--- Runs the steps of one writer after those of others, and appends its results and events to theirs.
local function run(tx, steps, offset, results, events)
  local ok, found = pcall(entities.run, tx, steps)
  if not ok then
    if type(found) == "table" and found.step then
      found.step = found.step + offset
    end
    error(found, 0)
  end

  for _, result in ipairs(found) do
    table.insert(results, result)
  end
  for _, event in ipairs(tx.events) do
    table.insert(events, event)
  end
end


local function write_and_publish(tx, events, epoch)
  local is_revocation = revocations.note(events)
  local changed = subjects.changed(events)
  subjects.note(changed)
  local ok, err = pcall(write, tx, epoch)
  if not ok then
    subjects.undo(changed)
    error(err, 0)
  end
  subjects.settle(changed)
  caches.publish(events, is_revocation)
end


--- Commits steps on entities, all or none.
-- @param arg.epoch { key, expected, becomes }: nothing is written unless the epoch is `expected`, which is
-- null for none
-- @param arg.check whether the steps are only checked, and nothing is written
-- @param arg.writers how many of the steps each writer has; null for one writer
-- @param arg.draft a name for the draft of a check. A commit with this name by the same request writes the
-- draft, and does not run the steps again
-- @param arg.rows the ready-made rows to write instead of steps (ready_rows.lua); null for none
function _M.commit(arg)
  if given(arg.rows) then
    return ready_rows.write(arg)
  end

  local epoch, first, new = given(arg.epoch), transactions()
  if epoch then
    epochs.expect(epoch)
  end

  local results, events, offset = envelope.array({}), {}, 0
  local name, is_check, checked = given(arg.draft), given(arg.check), ngx.ctx.scim_draft
  if name and not is_check and checked and checked.name == name then
    write_and_publish(checked.first, checked.events, epoch)
    return { results = results }
  end

  for i, count in ipairs(given(arg.writers) or { #arg.steps }) do
    local steps = {}
    for j = 1, count do
      steps[j] = arg.steps[offset + j]
    end
    run(i == 1 and first or new({}), steps, offset, results, events)
    offset = offset + count
  end

  if not is_check then
    write_and_publish(first, events, epoch)
  elseif name then
    ngx.ctx.scim_draft = { name = name, first = first, events = events }
  end

  return { results = results }
end


return _M
