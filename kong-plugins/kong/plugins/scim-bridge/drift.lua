-- kong.scim.drift answers what a search for drift needs beside kong.scim.query: which consumers have
-- credentials, and all consumers of a tenant, a page at a time.

local consumer_credentials = require "kong.plugins.scim-bridge.consumer_credentials"
local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local owned_entities = require "kong.plugins.scim-bridge.owned_entities"
local postgres = require "kong.plugins.scim-bridge.postgres"
local sql = require "kong.plugins.scim-bridge.sql"
local tags = require "kong.plugins.scim-bridge.tags"


local kong   = kong
local array  = envelope.array
local expect = envelope.expect
local given  = envelope.given


local PAGE = 1000


--- Runs one statement in a transaction of its own, which only reads, and returns its rows.
local function select(statement, timeout)
  local connector = internals.connector()
  local conn = sql.connect(connector)
  local answers, err = connector:query(table.concat({ sql.begin(timeout, true), statement, "COMMIT" }, ";\n"))
  local ok, failure = answers, nil
  if not answers then
    ok, failure = pcall(sql.raise, conn, err)
  end

  connector:setkeepalive()
  if not ok then
    error(failure, 0)
  end
  return answers[3] == true and {} or answers[3] -- the first two are those of BEGIN and SET
end


-- -- Credentials -------------------------------------------------------------

local function holders_by_sql(ids, timeout)
  local kinds = {}
  for i, kind in ipairs(consumer_credentials.kinds(kong.db)) do
    kinds[i] = { kind.dao.schema, kind.field }
  end

  local holders = array({})
  local literal = internals.connector():escape_literal(envelope.encode(ids))
  for i, row in ipairs(kinds[1] and ids[1] and select(postgres.owners(kinds, literal), timeout) or {}) do
    holders[i] = { consumer = row.owner, dao = row.dao }
  end

  return holders
end


local function holders_by_dao(ids)
  local holders = array({})
  for _, kind in ipairs(consumer_credentials.kinds(kong.db)) do
    for _, id in ipairs(ids) do
      local next_row = kind.dao["each_for_" .. kind.field](kind.dao, { id = id })
      local row, err = next_row() -- one says that there are some
      if err then
        envelope.raise("DATABASE", err)
      elseif row then
        table.insert(holders, { consumer = id, dao = kind.dao.schema.name })
      end
    end
    internals.yield(true, ngx.get_phase())
  end

  return holders
end


-- -- A tenant's consumers ----------------------------------------------------

local function tagged_by_sql(wanted, timeout)
  local connector = internals.connector()
  local after = wanted.after ~= "" and connector:escape_literal(wanted.after) or nil
  local statement = postgres.tagged(connector:escape_literal(internals.workspace()),
                                    connector:escape_literal(wanted.tag), after, wanted.size)
  local found = array({})
  for i, row in ipairs(select(statement, timeout)) do
    found[i] = { id = row.id, user = tags.read({ tags = envelope.decode(row.tags) }).user_id }
  end

  return found
end


--- Reads all consumers of a DB-less Kong, because LMDB is not in the order of their ids.
local function tagged_by_dao(wanted)
  local found = array({})
  for consumer, err in kong.db.consumers:each(PAGE) do
    if err then
      envelope.raise("DATABASE", err)
    end
    if consumer.id > wanted.after and tags.has(consumer, wanted.tag)
       and owned_entities.is_owned("consumers", consumer.id) then
      table.insert(found, { id = consumer.id, user = tags.read(consumer).user_id })
    end
    internals.yield(true, ngx.get_phase())
  end

  table.sort(found, function(a, b) return a.id < b.id end)
  for i = #found, wanted.size + 1, -1 do
    found[i] = nil
  end
  return found
end


--- @param arg.credentials_of ids of consumers
-- @param arg.tagged the `tag` of consumers, the id `after` which they begin (empty for all), and the `size`
-- @return `holders`, a list of { consumer, dao }, and `consumers`, a list of { id, user }
local function drift(arg)
  local ids, wanted = array({}), given(arg.tagged)
  local credentials_of = given(arg.credentials_of) or {}
  expect(type(credentials_of) == "table", "`credentials_of` must be a list of ids")
  for _, id in ipairs(credentials_of) do
    expect(internals.is_valid_uuid(id), "`credentials_of` must be a list of ids")
    table.insert(ids, id)
  end
  if wanted then
    expect(type(wanted) == "table" and type(wanted.tag) == "string"
           and type(wanted.size) == "number" and wanted.size >= 1
           and (wanted.after == "" or internals.is_valid_uuid(wanted.after)),
           "`tagged` needs `tag`, `after`, which is an id or empty, and `size`")
  end

  if internals.has_database() then
    return {
      holders = holders_by_sql(ids, arg.timeout),
      consumers = wanted and tagged_by_sql(wanted, arg.timeout) or array({}),
    }
  end

  return {
    holders = holders_by_dao(ids),
    consumers = wanted and tagged_by_dao(wanted) or array({}),
  }
end


return drift
