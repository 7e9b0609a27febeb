-- kong.scim.credentials lists the credentials of consumers: their kinds, ids and ages, and never what is
-- secret about them.

local consumer_credentials = require "kong.plugins.scim-bridge.consumer_credentials"
local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local postgres = require "kong.plugins.scim-bridge.postgres"
local query = require "kong.plugins.scim-bridge.query"


local kong  = kong
local given = envelope.given


local MOST = 10000 -- credentials of one answer
local MOST_CONSUMERS = 1000 -- of one request


--- Returns the credentials by one statement, for which DAOs would run one for each consumer and kind.
local function by_sql(ids, timeout)
  local kinds = consumer_credentials.kinds(kong.db)
  if not kinds[1] then
    return {}
  end

  local statement = { sql = postgres.credentials(kinds, "$1", MOST), params = { envelope.encode(ids) } }
  return query({ sql = { statement }, timeout = timeout }).sql[1]
end


--- Returns the credentials of a DB-less Kong, where a look-up takes microseconds.
local function by_dao(ids)
  local found = {}
  for _, kind in ipairs(consumer_credentials.kinds(kong.db)) do
    for _, id in ipairs(ids) do
      for row, err in kind.dao["each_for_" .. kind.field](kind.dao, { id = id }) do
        if err then
          envelope.raise("DATABASE", err)
        elseif #found == MOST then
          return found
        end
        local left = given(row.ttl)
        table.insert(found, {
          kind = kind.dao.schema.name,
          id = row.id,
          owner = id,
          created = row.created_at or ngx.null,
          expires = left and ngx.time() + left or ngx.null,
        })
      end
      internals.yield(true, ngx.get_phase())
    end
  end

  return found
end


--- kong.scim.credentials.
-- @param arg.consumers ids of consumers
-- @return credentials: a list of { kind, id, owner, created, expires }, with times in seconds since 1970
return function(arg)
  local ids, consumers = envelope.array({}), given(arg.consumers) or {}
  envelope.expect(type(consumers) == "table" and #consumers <= MOST_CONSUMERS,
                  "`consumers` must be a list of at most " .. MOST_CONSUMERS .. " ids")
  for _, id in ipairs(consumers) do
    if type(id) == "string" and internals.is_valid_uuid(id) then
      table.insert(ids, id)
    end
  end

  local found = ids[1] and (internals.has_database() and by_sql(ids, arg.timeout) or by_dao(ids)) or {}
  return { credentials = envelope.array(found) }
end
