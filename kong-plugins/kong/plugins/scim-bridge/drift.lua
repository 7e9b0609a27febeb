-- kong.scim.drift answers what a search for drift needs beside kong.scim.query: all consumers of a tenant, a
-- page at a time.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local owned_entities = require "kong.plugins.scim-bridge.owned_entities"
local postgres = require "kong.plugins.scim-bridge.postgres"
local query = require "kong.plugins.scim-bridge.query"
local tags = require "kong.plugins.scim-bridge.tags"


local array = envelope.array
local given = envelope.given


local function by_sql(wanted, timeout)
  local after = wanted.after ~= "" and "$3" or nil
  local statement = {
    sql = postgres.tagged("$1", "$2", after, wanted.size),
    params = { internals.workspace(), wanted.tag, wanted.after },
  }

  local found = array({})
  for i, row in ipairs(query({ sql = { statement }, timeout = timeout }).sql[1]) do
    found[i] = { id = row.id, user = tags.read({ tags = envelope.decode(row.tags) }).user_id }
  end

  return found
end


--- Reads all consumers of a DB-less Kong, because LMDB is not in the order of their ids.
local function by_dao(wanted)
  local found = array({})
  for _, consumer in ipairs(owned_entities.tagged_consumers(wanted.tag)) do
    if consumer.id > wanted.after then
      table.insert(found, { id = consumer.id, user = tags.read(consumer).user_id })
    end
  end

  table.sort(found, function(a, b) return a.id < b.id end)
  for i = #found, wanted.size + 1, -1 do
    found[i] = nil
  end
  return found
end


--- @param arg.tagged the `tag` of consumers, the id `after` which they begin (empty for all), and the `size`
-- @return `consumers`, a list of { id, user }
local function drift(arg)
  local wanted = given(arg.tagged)
  envelope.expect(type(wanted) == "table" and type(wanted.tag) == "string"
                  and type(wanted.size) == "number" and wanted.size >= 1
                  and (wanted.after == "" or internals.is_valid_uuid(wanted.after)),
                  "`tagged` needs `tag`, `after`, which is an id or empty, and `size`")
  return { consumers = internals.has_database() and by_sql(wanted, arg.timeout) or by_dao(wanted) }
end


return drift
