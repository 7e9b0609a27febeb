-- kong.scim.query answers rows of the SCIM tables, and Kong's consumers with their ACL groups.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local owned_entities = require "kong.plugins.scim-bridge.owned_entities"
local postgres = require "kong.plugins.scim-bridge.postgres"
local sql = require "kong.plugins.scim-bridge.sql"
local tags = require "kong.plugins.scim-bridge.tags"


local kong  = kong
local array = envelope.array
local given = envelope.given


local PAGE = 1000
local KEYS = { "id", "username", "custom_id" }


--- Returns the requested values by key, without those that no consumer can have.
local function wanted(consumers)
  local by_key = {}
  for _, key in ipairs(KEYS) do
    by_key[key] = {}
    for _, value in ipairs(given(consumers[key]) or {}) do
      if type(value) == "string" and (key ~= "id" or internals.is_valid_uuid(value)) then
        table.insert(by_key[key], value)
      end
    end
  end

  return by_key
end


--- Returns one statement for any number of consumers, for which DAOs would run two each; nil for none.
local function consumers_by_sql(connector, by_key)
  local conditions = {}
  for key, values in pairs(by_key) do
    for i, value in ipairs(values) do
      values[i] = connector:escape_literal(value)
    end

    if values[1] then
      table.insert(conditions, key .. " IN (" .. table.concat(values, ", ") .. ")")
    end
  end

  if conditions[1] then
    local workspace = connector:escape_literal(internals.workspace())
    return postgres.consumers(kong.db.daos.acls ~= nil, workspace, table.concat(conditions, " OR "))
  end
end


local function acls_of(consumer)
  local acls = array({})
  if kong.db.daos.acls then
    for acl, err in kong.db.daos.acls:each_for_consumer({ id = consumer.id }) do
      if err then
        envelope.raise("DATABASE", err)
      end
      table.insert(acls, { id = acl.id, group = acl.group, tags = array(acl.tags or {}) })
    end
  end

  table.sort(acls, function(a, b) return a.group < b.group end)
  return acls
end


--- Returns the consumers of a DB-less Kong, where a look-up takes microseconds.
local function consumers_by_dao(by_key)
  local consumers, seen = array({}), {}
  for key, values in pairs(by_key) do
    for _, value in ipairs(values) do
      local dao = kong.db.consumers
      local consumer, err
      if key == "id" then
        consumer, err = dao:select({ id = value })
      else
        consumer, err = dao["select_by_" .. key](dao, value)
      end

      if err then
        envelope.raise("DATABASE", err)
      elseif consumer and not seen[consumer.id] then
        seen[consumer.id] = true
        table.insert(consumers, {
          id = consumer.id,
          username = consumer.username or ngx.null,
          custom_id = consumer.custom_id or ngx.null,
          tags = array(consumer.tags or {}),
          acls = acls_of(consumer),
          declared = not owned_entities.is_owned("consumers", consumer.id),
        })
      end
    end
  end

  return consumers
end


--- Returns the ids of SCIM's consumers with a tag, without those that the configuration declares.
local function tagged(tag)
  local ids = array({})
  for consumer, err in kong.db.consumers:each(PAGE) do
    if err then
      envelope.raise("DATABASE", err)
    end
    if tags.has(consumer, tag) and owned_entities.is_owned("consumers", consumer.id) then
      table.insert(ids, consumer.id)
    end
    internals.yield(true, ngx.get_phase())
  end

  return ids
end


--- Runs all statements in one message to PostgreSQL and in one transaction.
local function run(connector, conn, statements, by_key, timeout)
  local texts = { sql.begin(timeout, true) }
  for i, statement in ipairs(statements) do
    table.insert(texts, envelope.at_step(i - 1, statement, sql.text, connector, statement))
  end

  local consumers_text = consumers_by_sql(connector, by_key)
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
  local statements, consumers = given(arg.sql) or {}, given(arg.consumers) or {}
  envelope.expect(type(statements) == "table" and type(consumers) == "table",
                  "`sql` must be a list of statements and `consumers` an object of lists")

  local by_key, connector = wanted(consumers), internals.connector()
  if not internals.has_database() then
    envelope.expect(not statements[1], "this Kong has no database for SCIM's tables")
    return {
      sql = array({}),
      consumers = consumers_by_dao(by_key),
      tagged = given(arg.tagged) and tagged(arg.tagged) or array({}),
    }
  end

  local conn = sql.connect(connector)
  local ok, result = pcall(run, connector, conn, statements, by_key, arg.timeout)
  connector:setkeepalive()
  return ok and result or error(result, 0)
end


return query
