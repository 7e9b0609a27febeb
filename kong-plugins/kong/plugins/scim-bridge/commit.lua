-- kong.scim.commit runs steps on SQL and on entities in one transaction, all or none.

local batch = require "kong.plugins.scim-bridge.batch"
local caches = require "kong.plugins.scim-bridge.caches"
local entities = require "kong.plugins.scim-bridge.entities"
local envelope = require "kong.plugins.scim-bridge.envelope"
local fleet = require "kong.plugins.scim-bridge.fleet"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local lookups = require "kong.plugins.scim-bridge.lookups"
local memory = require "kong.plugins.scim-bridge.memory"
local postgres = require "kong.plugins.scim-bridge.postgres"
local revocations = require "kong.plugins.scim-bridge.revocations"
local sets = require "kong.plugins.scim-bridge.sets"
local sql = require "kong.plugins.scim-bridge.sql"
local subjects = require "kong.plugins.scim-bridge.subjects"
local targets = require "kong.plugins.scim-bridge.targets"


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
local LOCK_PREFIX = "scim-bridge acl group "  -- for groups of all targets


-- -- Steps of SQL ------------------------------------------------------------

local function has_counts(step)
  for _, value in ipairs(type(step.params) == "table" and step.params or {}) do
    if type(value) == "table" then
      return true
    end
  end

  return false
end


local function run_sql(tx, step, result)
  if has_counts(step) and tx.batch.awaited then
    tx.batch:flush() -- now the entities are counted
  end

  local rows = given(step.rows)
  tx.batch:add(sql.text(tx.connector, step, tx.written), {
    awaited = rows ~= nil,
    on_answer = function(answer)
      result.rows, result.data = sql.outcome(answer)
      if rows and rows ~= result.rows then
        envelope.raise("ROW_COUNT", result.rows .. " rows instead of " .. rows)
      end
    end,
  })
end


--- Rolls back the earlier steps of a dry run, and drops their events, so that no cache is invalidated.
local function undo(tx)
  tx.batch:flush()
  tx.batch:add("ROLLBACK; " .. tx.begin, { statements = 3 })
  for i = #tx.events, 1, -1 do
    tx.events[i] = nil
  end
end


-- -- What entities.lua needs of a transaction --------------------------------

--- Replaces a tag of any number of consumers in one statement. Their DAO would run three for each.
-- The events are `quiet`: they only invalidate the cache of the guard, because nobody else reads this tag.
local function replace_tag(tx, ids, prefix, tag)
  local connector = tx.connector
  tx.batch:add(postgres.replace_tag(connector:escape_literal(prefix),
                                    tag and connector:escape_literal(tag) or "NULL",
                                    connector:escape_literal(envelope.encode(envelope.array(ids)))))
  for _, id in ipairs(ids) do
    local entity = { id = id, ws_id = internals.workspace() }
    table.insert(tx.events, { dao = kong.db.consumers, operation = "update", entity = entity, quiet = true })
  end
end


--- Runs one statement now, and returns its rows.
local function select(tx, statement)
  local rows
  tx.batch:add(statement, { awaited = true, on_answer = function(answer)
    rows = answer
  end })
  tx.batch:flush()
  return rows
end


--- Returns the tokens and codes that OAuth clients got on behalf of a consumer, as a list of { dao, id }.
local function on_behalf(tx, consumer)
  local statements, id = {}, tx.connector:escape_literal(consumer)
  for _, name in ipairs(ON_BEHALF_OF_CONSUMERS) do
    if kong.db.daos[name] then
      table.insert(statements, ON_BEHALF:format(name, name, id))
    end
  end

  return statements[1] and select(tx, table.concat(statements, " UNION ALL ")) or {}
end


--- See entities.lua.
local function claim(tx, group, dao, tag, refuse)
  local connector = tx.connector
  local workspace = connector:escape_literal(internals.workspace())
  local target = targets[dao]
  local key = connector:escape_literal(LOCK_PREFIX .. (target.groups and dao .. " " or "") .. group.key)
  local given_by_any = postgres.given(target, dao, connector:escape_literal(group.name), workspace)
  local given_by_us = postgres.given_with(given_by_any, connector:escape_literal(tag))
  -- the lock is shared if the tenant gives the group already, else exclusive
  tx.batch:add(postgres.lock(given_by_us, key))
  tx.batch:add(TAKEN:format(given_by_us, given_by_any), { awaited = true, on_answer = function(answer)
    if answer[1].taken == 1 then
      refuse(group.name)
    end
  end })
end


local function refuse_if_held(tx, by_field, refuse)
  local condition = lookups.condition(tx.connector, by_field)
  if condition then
    local workspace = tx.connector:escape_literal(internals.workspace())
    tx.batch:add(postgres.held(workspace, condition), { awaited = true, on_answer = function(answer)
      if answer[1] then
        refuse()
      end
    end })
  end
end


-- -- The transaction ---------------------------------------------------------

--- Tells whether calls still run in the transaction. After any SQL error, also one that a DAO only logs, the
-- connector silently takes another connection.
local function is_intact(tx)
  return tx.connector:get_stored_connection("write") == tx.conn
         and tx.connector:get_stored_connection("read") == tx.conn
end


local function run(tx, steps)
  -- else DAOs would read from a read replica, which does not have what this transaction wrote
  tx.connector:store_connection(tx.conn, "read")
  tx.batch:add(tx.begin, { statements = 2 })

  local results = entities.run(tx, steps)
  tx.batch:of_step() -- the rest is of no step
  if tx.batch.awaited or revocations.any(tx.events) then
    tx.batch:flush()
  end

  tx.keys = caches.keys(tx.events)
  for _, statement in ipairs(caches.invalidations(tx.connector, tx.keys)) do
    tx.batch:add(statement)
  end
  tx.subjects = subjects.changed(tx.events)
  for _, statement in ipairs(subjects.statements(tx.connector, tx.subjects)) do
    tx.batch:add(statement)
  end

  fleet.before_commit(tx)
  tx.committing, tx.is_revocation = true, revocations.note(tx.events)
  subjects.note(tx.subjects)
  tx.batch:add("COMMIT", { ends = true })
  tx.batch:flush()
  return { results = results }
end


--- Runs the steps in one transaction.
-- @param together whether statements and entities are sent together, and not each by itself
-- @return whether it succeeded, and the result or the error
local function attempt(arg, together)
  local connector, events = internals.connector(), {}
  local conn = sql.connect(connector)
  local tx = {
    connector = connector,
    conn = conn,
    batch = batch.new(connector, conn, together),
    begin = sql.begin(arg.timeout),
    db = internals.recorder(events),
    events = events,
    sql = run_sql,
    undo = undo,
    write_set = sets.write,
    raise = function(err)
      sql.raise(conn, err)
    end,
  }

  for name, fn in pairs({ replace_tag = replace_tag, on_behalf = on_behalf, claim = claim, select = select,
                          refuse_if_held = refuse_if_held }) do
    tx[name] = function(...)
      return fn(tx, ...)
    end
  end

  function tx.check()
    if not is_intact(tx) then
      sql.raise(conn, "the transaction was lost")
    end
  end

  local ok, result = pcall(run, tx, arg.steps)
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
    if ok then
      subjects.settle(tx.subjects)
    else
      subjects.undo(tx.subjects)
    end
    fleet.after_commit(tx)
    caches.publish(events, tx.is_revocation, tx.keys)
  end

  return ok, result
end


local function in_postgres(arg)
  local ok, result = attempt(arg, true)
  if not ok and type(result) == "table" and result.is_unclear then
    ok, result = attempt(arg, false)
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
