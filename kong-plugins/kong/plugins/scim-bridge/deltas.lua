-- Keeps what a commit changed for data planes that fetch only the changes of the configuration
-- (cluster_incremental_sync). Kong's hooks of DAOs would do so by transactions of their own, and do not see
-- what is written without a DAO.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local memberships = require "kong.plugins.scim-bridge.memberships"
local postgres = require "kong.plugins.scim-bridge.postgres"


local _M = {}


--- Returns the changed entities as a list of { dao, keys }, and the last event of each by DAO and key.
local function changed(events)
  local kinds, last = {}, {}
  for _, event in ipairs(events) do
    local schema = event.dao.schema
    local name, key = schema.name, memberships.key_of(schema, event.entity)
    if not last[name] then
      last[name] = {}
      kinds[#kinds + 1] = { dao = event.dao, keys = {} }
      kinds[name] = kinds[#kinds]
    end
    if not last[name][key] then
      table.insert(kinds[name].keys, key)
    end
    last[name][key] = event
  end

  return kinds, last
end


--- Adds the changes to the transaction, which must end right after it: other writers of changes wait, because
-- data planes fetch them by their number, and would miss one that is committed after a later one.
function _M.add(tx)
  local connector, list = tx.connector, envelope.array({})
  local workspace = connector:escape_literal(internals.workspace())
  local kinds, last = changed(tx.events)
  for _, kind in ipairs(kinds) do
    local schema, present = kind.dao.schema, envelope.array({})
    for _, key in ipairs(kind.keys) do
      local event = last[schema.name][key]
      local pk = schema:extract_pk_values(event.entity)
      if event.operation == "delete" then
        list[#list + 1] = { type = schema.name, pk = pk }
      elseif pk.id then
        present[#present + 1] = pk.id
      else -- a membership, which is only made and deleted
        list[#list + 1] = { type = schema.name, pk = pk, entity = event.entity }
      end
    end

    local rows = present[1] and tx.select(
      postgres.select(schema, connector:escape_literal(envelope.encode(present)), workspace)) or {}
    for _, row in ipairs(rows) do
      list[#list + 1] = { type = schema.name, pk = { id = row.id }, entity = postgres.entity(schema, row) }
    end
  end

  tx.batch:add(postgres.lock_deltas())
  tx.batch:add(postgres.deltas(connector:escape_literal(envelope.encode(list)), workspace))
end


return _M
