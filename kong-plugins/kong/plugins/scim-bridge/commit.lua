-- kong.scim.commit runs steps on SQL and on entities in one transaction, all or none.

local caches = require "kong.plugins.scim-bridge.caches"
local entities = require "kong.plugins.scim-bridge.entities"
local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local memory = require "kong.plugins.scim-bridge.memory"
local postgres = require "kong.plugins.scim-bridge.postgres"
local revocations = require "kong.plugins.scim-bridge.revocations"
local sql = require "kong.plugins.scim-bridge.sql"


local kong  = kong
local given = envelope.given


local ON_BEHALF = [[
  SELECT '%s' AS dao, given.id
    FROM consumers c JOIN %s given
      ON given.authenticated_userid IN (c.id::text, c.username, LOWER(c.username),
                                        c.custom_id, LOWER(c.custom_id))
   WHERE c.id = %s]]
local ON_BEHALF_OF_CONSUMERS = { "oauth2_tokens", "oauth2_authorization_codes" }

-- uses the index on acls.group; it is a separate statement, so that it sees what was committed before the
-- lock
local TAKEN = [[SELECT CASE WHEN EXISTS (%s) THEN 0 WHEN EXISTS (%s) THEN 1 ELSE 0 END AS taken]]
local LOCK_PREFIX = "scim-bridge acl group "


local function run_sql(tx, step)
  local rows, count = sql.run(tx.connector, tx.conn, step, tx.written)
  if given(step.rows) and step.rows ~= count then
    envelope.raise("ROW_COUNT", count .. " rows instead of " .. step.rows)
  end

  return { rows = count, data = rows }
end


--- Tells whether calls still run in the transaction. After any SQL error, also one that a DAO only logs, the
-- connector silently takes another connection.
local function is_intact(tx)
  return tx.connector:get_stored_connection("write") == tx.conn
         and tx.connector:get_stored_connection("read") == tx.conn
end


local function execute(tx, statement)
  local ok, err = tx.connector:query(statement)
  if not ok then
    tx.raise(err)
  end
end


--- Replaces a tag of any number of consumers in one statement. Their DAO would run three for each.
-- The events are `quiet`: they only invalidate the cache of the guard, because nobody else reads this tag.
local function replace_tag(tx, ids, prefix, tag)
  local connector, quoted = tx.connector, {}
  for i, id in ipairs(ids) do
    quoted[i] = connector:escape_literal(id)
  end

  local rows, err = connector:query(postgres.replace_tag(connector:escape_literal(prefix),
                                                         tag and connector:escape_literal(tag) or "NULL",
                                                         table.concat(quoted, ", ")))
  for _, row in ipairs(rows or tx.raise(err)) do
    table.insert(tx.events, { dao = kong.db.consumers, operation = "update", entity = row, quiet = true })
  end
end


--- Returns the tokens and codes that OAuth clients got on behalf of a consumer, as a list of { dao, id }.
local function on_behalf(tx, consumer)
  local statements, id = {}, tx.connector:escape_literal(consumer)
  for _, name in ipairs(ON_BEHALF_OF_CONSUMERS) do
    if kong.db.daos[name] then
      table.insert(statements, ON_BEHALF:format(name, name, id))
    end
  end
  if not statements[1] then
    return {}
  end

  local rows, err = tx.connector:query(table.concat(statements, " UNION ALL "))
  return rows or tx.raise(err)
end


--- See entities.lua. The groups are in the order of their keys, so that two transactions never deadlock.
local function taken(tx, groups, tag)
  local connector = tx.connector
  local workspace = connector:escape_literal(internals.workspace())
  for _, group in ipairs(groups) do
    local key = connector:escape_literal(LOCK_PREFIX .. group.key)
    local given_by_any = postgres.given(connector:escape_literal(group.name), workspace)
    local given_by_us = postgres.given_with(given_by_any, connector:escape_literal(tag))
    -- the lock is shared if the tenant gives the group already, else exclusive
    execute(tx, postgres.lock(given_by_us, key))

    local rows, err = connector:query(TAKEN:format(given_by_us, given_by_any))
    if (rows or tx.raise(err))[1].taken == 1 then
      return group.name
    end
  end
end


--- Rolls back the earlier steps of a dry run, and drops their events, so that no cache is invalidated.
local function undo(tx)
  execute(tx, "ROLLBACK; " .. tx.begin)
  for i = #tx.events, 1, -1 do
    tx.events[i] = nil
  end

  return {}
end


local function run(tx, steps, timeout)
  -- else DAOs would read from a read replica, which does not have what this transaction wrote
  tx.connector:store_connection(tx.conn, "read")
  tx.begin = sql.begin(timeout)
  execute(tx, tx.begin)

  local results = entities.run(tx, steps)
  execute(tx, caches.invalidations(tx.connector, tx.events))

  tx.committing, tx.is_revocation = true, revocations.note(tx.events)
  execute(tx, "COMMIT")
  return { results = results }
end


local function in_postgres(arg)
  local connector, events = internals.connector(), {}
  local conn = sql.connect(connector)
  local tx = {
    connector = connector,
    conn = conn,
    db = internals.recorder(events),
    events = events,
    sql = run_sql,
    undo = undo,
    raise = function(err)
      sql.raise(conn, err)
    end,
  }

  function tx.replace_tag(...)
    replace_tag(tx, ...)
  end

  function tx.on_behalf(...)
    return on_behalf(tx, ...)
  end

  function tx.taken(...)
    return taken(tx, ...)
  end

  function tx.check()
    if not is_intact(tx) then
      sql.raise(conn, "the transaction was lost")
    end
  end

  local ok, result = pcall(run, tx, arg.steps, arg.timeout)
  local intact = is_intact(tx)
  connector:store_connection(nil, "read")
  if not intact then
    connector:close()
  elseif not ok then
    connector:query("ROLLBACK") -- if this fails too, the connector closes the connection
  end
  connector:setkeepalive()

  -- if the connection broke during COMMIT, its outcome is unknown, and dropping caches is right in both cases
  if tx.committing then
    caches.publish(events, tx.is_revocation)
  end

  return ok and result or error(result, 0)
end


local function commit(arg)
  envelope.expect(type(arg.steps) == "table", "`steps` must be a list")
  if internals.has_database() then
    return in_postgres(arg)
  end

  return memory.commit(arg)
end


return commit
