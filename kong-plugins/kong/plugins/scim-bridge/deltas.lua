-- Keeps what a commit changed for data planes that fetch only the changes of the configuration
-- (cluster_incremental_sync). Kong's hooks of DAOs would do so by transactions of their own, and do not see
-- what is written without a DAO.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local postgres = require "kong.plugins.scim-bridge.postgres"


local _M = {}


--- Returns the changed entities as a list of { dao, ids }, and by DAO and id whether the entity is deleted.
local function changed(events)
  local kinds, deleted = {}, {}
  for _, event in ipairs(events) do
    local dao, id = event.dao, event.entity.id
    local name = dao.schema.name
    if not deleted[name] then
      deleted[name] = {}
      kinds[#kinds + 1] = { dao = dao, ids = {} }
      kinds[name] = kinds[#kinds]
    end
    if deleted[name][id] == nil then
      table.insert(kinds[name].ids, id)
    end
    deleted[name][id] = event.operation == "delete"
  end

  return kinds, deleted
end


--- Adds the changes to the transaction, which must end right after it: other writers of changes wait, because
-- data planes fetch them by their number, and would miss one that is committed after a later one.
function _M.add(tx)
  local connector, list = tx.connector, envelope.array({})
  local workspace = connector:escape_literal(internals.workspace())
  local kinds, deleted = changed(tx.events)
  for _, kind in ipairs(kinds) do
    local schema, present = kind.dao.schema, envelope.array({})
    for _, id in ipairs(kind.ids) do
      if deleted[schema.name][id] then
        list[#list + 1] = { type = schema.name, pk = { id = id } }
      else
        present[#present + 1] = id
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
