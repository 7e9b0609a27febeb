-- kong.scim.query answers rows of the SCIM tables, and Kong's consumers with their groups.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local lookups = require "kong.plugins.scim-bridge.lookups"
local memberships = require "kong.plugins.scim-bridge.memberships"
local owned_entities = require "kong.plugins.scim-bridge.owned_entities"
local postgres = require "kong.plugins.scim-bridge.postgres"
local sql = require "kong.plugins.scim-bridge.sql"


local kong  = kong
local array = envelope.array
local given = envelope.given


--- Returns the consumers of a DB-less Kong, where a look-up takes microseconds.
local function consumers_by_dao(by_field)
  local consumers, seen = array({}), {}
  for field, values in pairs(by_field) do
    for _, value in ipairs(values) do
      local consumer, err = lookups.by_dao(kong.db.consumers, field, value)
      if err then
        envelope.raise("DATABASE", err)
      elseif consumer and not seen[consumer.id] then
        seen[consumer.id] = true
        table.insert(consumers, {
          id = consumer.id,
          username = consumer.username or ngx.null,
          custom_id = consumer.custom_id or ngx.null,
          tags = array(consumer.tags or {}),
          memberships = memberships.of_consumer(consumer.id),
          declared = not owned_entities.is_owned("consumers", consumer.id),
        })
      end
    end
  end

  return consumers
end


local function tagged(tag)
  local ids = array({})
  for i, consumer in ipairs(owned_entities.tagged_consumers(tag)) do
    ids[i] = consumer.id
  end

  return ids
end


--- Returns one statement for any number of consumers, for which DAOs would run two each; nil for none.
local function consumers_by_sql(connector, by_field)
  local condition = lookups.condition(connector, by_field)
  local workspace = connector:escape_literal(internals.workspace())
  return condition and postgres.consumers(memberships.targets(), workspace, condition)
end


--- Runs all statements in one message to PostgreSQL and in one transaction.
local function run(connector, conn, statements, by_field, timeout)
  local texts = { sql.begin(timeout, true) }
  for i, statement in ipairs(statements) do
    table.insert(texts, envelope.at_step(i - 1, statement, sql.text, connector, statement))
  end

  local consumers_text = consumers_by_sql(connector, by_field)
  table.insert(texts, consumers_text)
  table.insert(texts, "COMMIT")

  -- the first two answers are those of BEGIN and SET; `count` is the number of answers before an error
  local answers, err, _, count = connector:query(table.concat(texts, ";\n"))
  if not answers then
    local failed = statements[(tonumber(count) or 0) - 1] and count - 1
    if failed then
      envelope.at_step(failed - 1, statements[failed], sql.raise, conn, err)
    end
    sql.raise(conn, err)
  end

  local results, consumers = array({}), array({})
  for i in ipairs(statements) do
    local rows = answers[i + 2]
    results[i] = array(rows == true and {} or rows)
  end

  for i, row in ipairs(consumers_text and answers[#statements + 3] or {}) do
    consumers[i] = envelope.decode(row.entity)
  end

  return { sql = results, consumers = consumers }
end


local function query(arg)
  local statements = given(arg.sql) or {}
  envelope.expect(type(statements) == "table", "`sql` must be a list of statements")

  local by_field, connector = lookups.wanted(given(arg.consumers) or {}), internals.connector()
  if not internals.has_database() then
    envelope.expect(not statements[1], "this Kong has no database for SCIM's tables")
    return {
      sql = array({}),
      consumers = consumers_by_dao(by_field),
      tagged = given(arg.tagged) and tagged(arg.tagged) or array({}),
    }
  end

  local conn = sql.connect(connector)
  local ok, result = pcall(run, connector, conn, statements, by_field, arg.timeout)
  connector:setkeepalive()
  return ok and result or error(result, 0)
end


return query
