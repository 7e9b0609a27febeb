-- kong.scim.commit: SQL and entities in one transaction, all of it or nothing.

local caches = require "kong.plugins.scim-bridge.caches"
local envelope = require "kong.plugins.scim-bridge.envelope"
local sql = require "kong.plugins.scim-bridge.sql"


local kong   = kong
local array  = envelope.array
local expect = envelope.expect
local given  = envelope.given


-- what belongs to a consumer and is no credential
local NO_CREDENTIALS = {
  acls = true,
  consumer_group_consumers = true,
  plugins = true,
}


--- What a DAO answered, or its error: Kong's code, name ("schema violation", ...), message, fields.
local function result_of(tx, result, err, err_t)
  if not err then
    return result
  elseif not err_t or err_t.code == kong.db.errors.codes.DATABASE_ERROR then
    sql.raise(tx.conn, err)
  end

  envelope.raise(err_t.name, err_t.message, { code = err_t.code, fields = err_t.fields })
end


local function dao_of(tx, step)
  return expect(type(step.dao) == "string" and tx.db.daos[step.dao], "this Kong has no such `dao`")
end


local function is_present(tx, dao, entity)
  local key = expect(dao.schema.cache_key, "`unless_present` needs an entity with a cache key")
  if key[2] then
    return result_of(tx, dao:select_by_cache_key(entity))
  end

  return result_of(tx, dao["select_by_" .. key[1]](dao, entity[key[1]]))
end


local ops = {}


function ops.sql(tx, step)
  local rows, count = sql.run(tx.connector, tx.conn, step, tx.written)
  if given(step.rows) and step.rows ~= count then
    envelope.raise("ROW_COUNT", count .. " rows instead of " .. step.rows)
  end

  return { rows = count, data = rows }
end


function ops.upsert(tx, step)
  local dao, entity = dao_of(tx, step), step.entity
  expect(type(entity) == "table" and type(entity.id) == "string", "an upsert needs `entity` with an id")
  if given(step.unless_present) then
    if not is_present(tx, dao, entity) then
      result_of(tx, dao:insert(entity))
    end
    return {}
  end

  -- the DAO's own upsert would put defaults where the entity is silent, and a new created_at
  local key = { id = entity.id }
  if result_of(tx, dao:select(key)) then
    entity.id = nil
    result_of(tx, dao:update(key, entity))
  else
    result_of(tx, dao:insert(entity))
  end

  return {}
end


ops["delete"] = function(tx, step)
  local dao = dao_of(tx, step)
  expect(type(step.id) == "string", "a deletion needs `id`")
  result_of(tx, dao:delete({ id = step.id }))
  return {}
end


function ops.revoke(tx, step)
  expect(type(step.consumer) == "string", "a revocation needs `consumer`, an id")

  for _, constraint in ipairs(kong.db.consumers.schema:get_constraints()) do
    local name, credentials = constraint.schema.name, {}
    if not NO_CREDENTIALS[name] then
      local dao = tx.db.daos[name]
      for row, err, err_t in dao["each_for_" .. constraint.field_name](dao, { id = step.consumer }) do
        table.insert(credentials, result_of(tx, row, err, err_t))
      end

      for _, credential in ipairs(credentials) do
        result_of(tx, dao:delete(credential))
      end
    end
  end

  return {}
end


--- Whether calls still run in our transaction: the connector silently takes another connection
-- after any SQL error, also after one that a DAO only logs.
local function is_intact(tx)
  return tx.connector:get_stored_connection("write") == tx.conn
         and tx.connector:get_stored_connection("read") == tx.conn
end


local function run_step(tx, step)
  local op = type(step) == "table" and type(step.op) == "string" and ops[step.op]
  expect(op, "a step needs `op`: sql, upsert, delete or revoke")

  local before = #tx.events
  local result = op(tx, step)
  if not is_intact(tx) then
    sql.raise(tx.conn, "the transaction was lost")
  end

  local entities = {}
  for i = before + 1, #tx.events do
    local name = tx.events[i].dao.schema.name
    entities[name] = (entities[name] or 0) + 1
    tx.written[step.op] = tx.written[step.op] or {}
    tx.written[step.op][name] = (tx.written[step.op][name] or 0) + 1
  end

  return { rows = result.rows or 0, data = result.data or array({}), entities = entities }
end


local function execute(tx, statement)
  local ok, err = tx.connector:query(statement)
  if not ok then
    sql.raise(tx.conn, err)
  end
end


local function run(tx, steps)
  -- with a read replica, DAOs would read there what this transaction has not shown yet
  tx.connector:store_connection(tx.conn, "read")
  execute(tx, "BEGIN")

  local results = array({})
  for i, step in ipairs(steps) do
    results[i] = envelope.at_step(i - 1, step, run_step, tx, step)
  end

  execute(tx, caches.invalidations(tx.connector, tx.events))

  tx.committing = true
  execute(tx, "COMMIT")
  return { results = results }
end


local function commit(arg)
  expect(type(arg.steps) == "table", "`steps` must be a list")

  local connector, events = kong.db.connector, {}
  local tx = {
    connector = connector,
    conn = sql.connect(connector),
    db = caches.recorder(kong.db, events),
    events = events,
    written = {}, -- how many entities, by operation and DAO
  }

  local ok, result = pcall(run, tx, arg.steps)
  local intact = is_intact(tx)
  connector:store_connection(nil, "read")
  if not intact then
    connector:close()
  elseif not ok then
    connector:query("ROLLBACK") -- where this fails too, the connector closes the connection
  end
  connector:setkeepalive()

  -- where the connection broke during COMMIT nobody knows: dropping caches is right in both cases
  if tx.committing then
    caches.publish(events)
  end

  return ok and result or error(result, 0)
end


return commit
