-- kong.scim.commit: SQL and entities in one transaction, all of it or nothing.

local caches = require "kong.plugins.scim-bridge.caches"
local envelope = require "kong.plugins.scim-bridge.envelope"
local sql = require "kong.plugins.scim-bridge.sql"


local kong   = kong
local find   = string.find
local fmt    = string.format
local null   = ngx.null
local array  = envelope.array
local fail   = envelope.fail
local given  = envelope.given


-- what belongs to a consumer and is no credential
local NO_CREDENTIALS = {
  acls = true,
  consumer_group_consumers = true,
  plugins = true,
}


--- An error of a DAO: Kong's code, name ("unique constraint violation", ...), message and fields.
local function dao_error(tx, err, err_t)
  if not err_t or err_t.code == kong.db.errors.codes.DATABASE_ERROR then
    return sql.explain(tx.conn, err)
  end

  return fail(err_t.name, err_t.message, { code = err_t.code, fields = err_t.fields })
end


--- The entity without anything PostgreSQL cannot hold, or nil.
local function is_storable(value)
  if type(value) == "string" then
    return not find(value, "\0", 1, true)
  end

  if type(value) == "table" then
    for k, v in pairs(value) do
      if not is_storable(k) or not is_storable(v) then
        return false
      end
    end
  end

  return true
end


local function is_present(dao, entity)
  local key = dao.schema.cache_key
  if not key then
    return fail("BAD_REQUEST", "`unless_present` is for entities with a cache key")
  end

  local row, err, err_t
  if key[2] then
    row, err, err_t = dao:select_by_cache_key(entity)
  else
    row, err, err_t = dao["select_by_" .. key[1]](dao, entity[key[1]])
  end

  if err then
    return nil, { dao = { err, err_t } }
  end

  return row ~= nil
end


local ops = {}


function ops.sql(tx, step)
  local rows, count = sql.run(tx.connector, tx.conn, step)
  if not rows then
    return nil, count
  end

  if given(step.rows) and step.rows ~= count then
    return fail("ROW_COUNT", fmt("%d rows instead of %d", count, step.rows))
  end

  return { rows = count, data = rows }
end


function ops.upsert(tx, step)
  local dao, entity = tx.db.daos[step.dao], step.entity
  if not dao or type(entity) ~= "table" or type(entity.id) ~= "string" then
    return fail("BAD_REQUEST", "an upsert needs `dao`, which this Kong knows, and `entity` with an id")
  end

  if not is_storable(entity) then
    return fail("BAD_REQUEST", "the entity has a NUL character, which PostgreSQL cannot hold")
  end

  if given(step.unless_present) then
    local present, err = is_present(dao, entity)
    if err then
      if err.dao then
        return dao_error(tx, err.dao[1], err.dao[2])
      end
      return nil, err
    end

    if present then
      return {}
    end
  end

  -- the DAO's own upsert would put defaults where the entity is silent, and a new created_at
  local key = { id = entity.id }
  local row, err, err_t = dao:select(key)
  if row then
    entity.id = nil
    row, err, err_t = dao:update(key, entity)
  elseif not err then
    row, err, err_t = dao:insert(entity)
  end

  if not row then
    return dao_error(tx, err, err_t)
  end

  return {}
end


ops["delete"] = function(tx, step)
  local dao = tx.db.daos[step.dao]
  if not dao or type(step.id) ~= "string" then
    return fail("BAD_REQUEST", "a deletion needs `dao`, which this Kong knows, and `id`")
  end

  local _, err, err_t = dao:delete({ id = step.id })
  if err then
    return dao_error(tx, err, err_t)
  end

  return {}
end


function ops.revoke(tx, step)
  if type(step.consumer) ~= "string" then
    return fail("BAD_REQUEST", "a revocation needs `consumer`, an id")
  end

  for _, constraint in ipairs(kong.db.consumers.schema:get_constraints()) do
    local name = constraint.schema.name
    if not NO_CREDENTIALS[name] then
      local dao = tx.db.daos[name]
      local credentials = {}
      for row, err, err_t in dao["each_for_" .. constraint.field_name](dao, { id = step.consumer }) do
        if not row then
          return dao_error(tx, err, err_t)
        end
        credentials[#credentials + 1] = row
      end

      for _, credential in ipairs(credentials) do
        local _, err, err_t = dao:delete(credential)
        if err then
          return dao_error(tx, err, err_t)
        end
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
  if not op then
    return fail("BAD_REQUEST", "a step needs `op`: sql, upsert, delete or revoke")
  end

  local before = #tx.events
  local result, err = op(tx, step)
  if not result then
    return nil, err
  end

  if not is_intact(tx) then
    return sql.explain(tx.conn, "the transaction was lost")
  end

  result.rows = result.rows or 0
  result.data = result.data or array({})
  result.entities = {}
  for i = before + 1, #tx.events do
    local name = tx.events[i].dao.schema.name
    result.entities[name] = (result.entities[name] or 0) + 1
  end

  return result
end


local function run(tx, steps)
  local results = array({})

  for i, step in ipairs(steps) do
    local result, err = run_step(tx, step)
    if not result then
      err.step = i - 1
      err.label = step ~= null and type(step) == "table" and step.label or nil
      return nil, err
    end
    results[i] = result
  end

  local invalidations = caches.invalidations(tx.connector, tx.events)
  local ok, err = true, nil
  if invalidations then
    ok, err = tx.connector:query(invalidations)
  end

  if ok then
    tx.committing = true
    ok, err = tx.connector:query("COMMIT")
  end

  if not ok then
    return sql.explain(tx.conn, err)
  end

  tx.committed = true
  return { results = results }
end


local function begin_transaction()
  local connector = kong.db.connector
  local conn, err = sql.connect(connector)
  if not conn then
    return nil, err
  end

  -- with a read replica, DAOs would read there what this transaction has not shown yet
  connector:store_connection(conn, "read")
  local tx = { connector = connector, conn = conn, events = {} }
  tx.db = caches.recorder(kong.db, tx.events)

  local ok
  ok, err = connector:query("BEGIN")
  if not ok then
    connector:store_connection(nil, "read")
    return sql.explain(conn, err)
  end

  return tx
end


local function end_transaction(tx)
  local intact = is_intact(tx)
  tx.connector:store_connection(nil, "read")
  if not intact then
    tx.connector:close()
  elseif not tx.committed then
    tx.connector:query("ROLLBACK") -- where this fails too, the connector closes the connection
  end

  tx.connector:setkeepalive()
end


local function commit(arg)
  local steps = arg.steps
  if type(steps) ~= "table" then
    return fail("BAD_REQUEST", "`steps` must be a list")
  end

  if kong.db.strategy ~= "postgres" then
    return fail("READ_ONLY", "this Kong runs without a database (DB-less, or a data plane), which this " ..
                             "version of scim-bridge cannot write: use Kong with PostgreSQL")
  end

  local tx, err = begin_transaction()
  if not tx then
    return nil, err
  end

  local ok, result
  ok, result, err = pcall(run, tx, steps)
  end_transaction(tx)

  -- where the connection broke during COMMIT nobody knows: dropping caches is right in both cases
  if tx.committed or tx.committing then
    caches.publish(tx.events)
  end

  if not ok then
    error(result, 0)
  end

  return result, err
end


return commit
