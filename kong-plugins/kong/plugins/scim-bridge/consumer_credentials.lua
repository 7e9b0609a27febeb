-- Knows the kinds of credentials, and deletes those of consumers and what was issued to them. It runs in a
-- transaction `tx`, which entities.lua describes.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local postgres = require "kong.plugins.scim-bridge.postgres"
local targets = require "kong.plugins.scim-bridge.targets"


local kong      = kong
local expect    = envelope.expect
local given     = envelope.given
local result_of = envelope.result_of


-- entities that belong to a consumer and are no credentials, beside the memberships of targets
local NO_CREDENTIALS = { plugins = true }


local _M = {}


--- Returns the DAOs of all credentials, each with the field that names the consumer.
function _M.kinds(db)
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


--- Deletes what OAuth clients got on behalf of a consumer's person. It belongs to the client, and has only
-- the name of the person (kong/plugins/oauth2/daos.lua).
function _M.end_on_behalf(tx, consumer)
  for _, found in ipairs(tx.on_behalf and tx.on_behalf(consumer) or {}) do
    result_of(tx, tx.db.daos[found.dao]:delete({ id = found.id }))
  end
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
function _M.owned(tx, steps, first)
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

  local kinds = _M.kinds(tx.db)
  local literal = internals.connector():escape_literal(envelope.encode(ids))
  for _, row in ipairs(kinds[1] and tx.select(postgres.owners(kinds, literal)) or {}) do
    found[row.owner] = found[row.owner] or {}
    found[row.owner][row.dao] = true
  end

  found.last = i - 1
  tx.owned = found
  return found
end


--- Runs the step `revoke`.
-- @param found what `owned` returned for its run of steps
function _M.revoke(tx, step, _, found)
  expect(type(step.consumer) == "string", "a revocation needs `consumer`, an id")

  local only_issued = given(step.issued)
  for _, kind in ipairs(_M.kinds(tx.db)) do
    local is_there = not found or found[step.consumer] and found[step.consumer][kind.dao.schema.name]
    for _, credential in ipairs(is_there and rows_of(tx, kind.dao, kind.field, step.consumer) or {}) do
      if only_issued then
        end_issued(tx, kind.dao, credential)
      else
        result_of(tx, kind.dao:delete(credential))
      end
    end
  end

  _M.end_on_behalf(tx, step.consumer)
end


return _M
