-- Makes those SQL statements of scim-bridge that depend on PostgreSQL. The functions take values as escaped
-- literals.

local fmt = string.format


-- the result is JSON text, which keeps empty lists; %s are the memberships, the workspace and the condition
local CONSUMERS = [[
  SELECT json_build_object('id', id, 'username', username, 'custom_id', custom_id,
                           'tags', COALESCE(tags, '{}'), 'memberships', json_build_object(%s))::text AS entity
    FROM consumers WHERE ws_id = %s AND (%s)]]

local NAMED_IN_ROWS = [[
  '%s', COALESCE((SELECT json_agg(json_build_object('id', a.id, 'group', a."%s",
                                                    'tags', COALESCE(a.tags, '{}')) ORDER BY a."%s")
                    FROM %s a WHERE a.consumer_id = consumers.id), '[]')]]

local NAMED_IN_GROUPS = [[
  '%s', COALESCE((SELECT json_agg(json_build_object('id', consumers.id || ':' || g."%s", 'group', g."%s")
                                  ORDER BY g."%s")
                    FROM %s m JOIN %s g ON g.id = m."%s_id" WHERE m.consumer_id = consumers.id), '[]')]]

local REPLACE_TAG = [[
  UPDATE consumers
     SET tags = ARRAY(SELECT tag FROM unnest(tags) AS tag WHERE strpos(tag, %s) <> 1) ||
                array_remove(ARRAY[%s]::text[], NULL),
         updated_at = CURRENT_TIMESTAMP(0)
   WHERE id %s]]

local LOCK = [[
  SELECT CASE WHEN EXISTS (%s)
              THEN pg_advisory_xact_lock_shared(hashtextextended(%s, 0))
              ELSE pg_advisory_xact_lock(hashtextextended(%s, 0)) END]]

local NAMED = [[
  SELECT id FROM consumers
   WHERE ws_id = %s AND (LOWER(username) = LOWER(%s) OR LOWER(custom_id) = LOWER(%s))]]

local PLUGINS_DIGEST = [[
  SELECT md5(string_agg(CONCAT_WS(' ', id, enabled, config, route_id, service_id, consumer_id), ' '
                        ORDER BY id)) AS digest
    FROM plugins WHERE name IN ('scim', 'scim-bridge')]]

-- a condition; with `IN (SELECT ...)` PostgreSQL may read the whole table
local IS_ONE_OF = "= ANY (ARRAY(SELECT value::uuid FROM json_array_elements_text(%s)))"

local INSERT = "INSERT INTO %s (%s) SELECT %s FROM json_to_recordset(%s) AS new (%s) ON CONFLICT (%s) DO "

local DELETE_BY_KEYS = [[
  DELETE FROM %s WHERE (%s) IN (SELECT %s FROM json_to_recordset(%s) AS old (%s uuid)) RETURNING %s]]

local OWNERS = "SELECT DISTINCT '%s' AS dao, %s_id AS owner FROM %s WHERE %s_id %s"

local TAGGED = [[
  SELECT id, array_to_json(tags)::text AS tags
    FROM consumers WHERE ws_id = %s AND tags @> ARRAY[%s] %s ORDER BY id LIMIT %d]]

local CREDENTIALS = [[
  SELECT '%s' AS kind, id::text AS id, %s::text AS owner, %s::bigint AS created, %s::bigint AS expires
    FROM %s WHERE %s %s%s]]

local EPOCH = "EXTRACT(EPOCH FROM %s AT TIME ZONE 'UTC')"

local NOT_EXPIRED = " AND (ttl IS NULL OR ttl > CURRENT_TIMESTAMP AT TIME ZONE 'UTC')"

local HELD = "SELECT id FROM consumers WHERE ws_id = %s AND (%s) LIMIT 1"

local INVALIDATIONS = [[
  INSERT INTO cluster_events (id, node_id, "at", expire_at, channel, data)
  SELECT md5(random()::text || clock_timestamp()::text || key)::uuid, '%s'::uuid,
         clock_timestamp() + interval '1 second', clock_timestamp() + interval '%d seconds', %s, key
    FROM json_array_elements_text(%s) AS key]]

local TAGS = [[
  SELECT id, to_json(COALESCE(tags, '{}'))::text AS tags FROM consumers WHERE ws_id = %s AND id IN (%s)
     FOR SHARE]]

local DELTAS = [[
  WITH new AS (INSERT INTO clustering_sync_version DEFAULT VALUES RETURNING version)
  INSERT INTO clustering_sync_delta (version, type, pk, ws_id, entity)
  SELECT new.version, delta.type, delta.pk, %s, COALESCE(delta.entity, 'null')
    FROM new, json_to_recordset(%s) AS delta (type text, pk json, entity json)]]

local MIGRATIONS = [[
  SELECT to_json(COALESCE(executed, '{}'))::text AS executed,
         to_json(COALESCE(pending, '{}'))::text AS pending
    FROM schema_meta
   WHERE key = 'schema_meta' AND subsystem = 'scim-bridge']]

-- the types of columns and their values in JSON, by the type of the field in Kong's schema
local TYPES = {
  boolean = "boolean",
  foreign = "uuid",
  integer = "bigint",
  number  = "double precision",
  set     = "text[]",
  string  = "text",
}


local _M = {
  DATABASE = "postgres", -- the name in kong.conf
  DIALECT = "postgresql",
}


local function table_of(schema)
  return schema.table or schema.name
end


--- Begins a transaction whose statements have a timeout each.
-- @param is_read whether it only reads; without effect in PostgreSQL
function _M.begin(milliseconds, is_read)
  return fmt("BEGIN; SET LOCAL statement_timeout = %d", milliseconds)
end


--- Replaces the tag of consumers that begins with a prefix, or removes it if the new tag is NULL.
-- @param ids a JSON list
function _M.replace_tag(prefix, tag, ids)
  return fmt(REPLACE_TAG, prefix, tag, fmt(IS_ONE_OF, ids))
end


--- Selects the rows that tell who gives a group: those of its members, or its entity.
function _M.given(target, dao, group, workspace)
  return fmt('SELECT FROM %s WHERE "%s" = %s AND ws_id = %s', target.groups or dao, target.name, group,
             workspace)
end


--- Selects only those of a statement of `given` whose entity has a tag.
function _M.given_with(given, tag)
  return given .. " AND " .. tag .. " = ANY (tags)"
end


--- Takes a lock on a key until the transaction ends: a shared one if the condition, a SELECT, finds a row,
-- else an exclusive one.
function _M.lock(condition, key)
  return fmt(LOCK, condition, key, key)
end


--- Locks a row until the transaction ends, so that nobody can refer to it meanwhile.
function _M.lock_row(schema, id)
  return fmt("SELECT id FROM %s WHERE id = %s FOR UPDATE", table_of(schema), id)
end


--- Inserts cluster events, by which each node drops some keys from its caches (kong/cluster_events).
-- A node skips events with its own id, so they have another node's. They are one second in the future, so
-- that no poll misses one because the transaction is not visible yet.
-- @param keys a JSON list
function _M.invalidations(node, ttl, channel, keys)
  return fmt(INVALIDATIONS, node, ttl, channel, keys)
end


-- -- Sets of entities: Kong's schema tells the columns, and lists are in JSON -

--- Returns the columns of a schema, as lists of names, definitions, values to write and values to read.
local function columns_of(schema)
  local names, definitions, values, read = {}, {}, {}, {}
  local function add(name, type, value, selected)
    local i = #names + 1
    names[i], definitions[i], values[i], read[i] = name, name .. " " .. type, value or name, selected or name
  end

  for name, field in schema:each_field() do
    local column = '"' .. (field.type == "foreign" and name .. "_id" or name) .. '"'
    if field.timestamp then
      add(column, "double precision", fmt("TO_TIMESTAMP(%s) AT TIME ZONE 'UTC'", column),
          fmt("EXTRACT(EPOCH FROM %s AT TIME ZONE 'UTC') AS %s", column, column))
    else
      add(column, field.uuid and "uuid" or TYPES[field.type])
    end
  end
  if schema.cache_key and schema.cache_key[2] then
    add("cache_key", "text")
  end
  if schema.workspaceable then
    add("ws_id", "uuid")
  end

  return names, definitions, values, read
end


local function insert(schema, rows, target)
  local names, definitions, values = columns_of(schema)
  return fmt(INSERT, table_of(schema), table.concat(names, ", "), table.concat(values, ", "), rows,
             table.concat(definitions, ", "), target)
end


--- Returns the columns of the primary key.
local function key_columns(schema)
  local columns = {}
  for i, name in ipairs(schema.primary_key) do
    columns[i] = schema.fields[name].type == "foreign" and name .. "_id" or name
  end

  return columns
end


--- Inserts memberships, except those that are there. The result has the primary keys of the new ones.
function _M.insert_absent(schema, rows)
  local key = table.concat(key_columns(schema), ", ")
  return insert(schema, rows, key == "id" and "cache_key" or key) .. "NOTHING RETURNING " .. key
end


--- Inserts entities, and changes some fields of those that exist.
function _M.upsert(schema, rows, fields)
  local changes = {}
  for i, name in ipairs(fields) do
    changes[i] = fmt('"%s" = excluded."%s"', name, name)
  end

  return insert(schema, rows, "id") .. "UPDATE SET " .. table.concat(changes, ", ") ..
         fmt(" WHERE %s.ws_id = excluded.ws_id", table_of(schema))
end


--- Selects entities by their ids.
function _M.select(schema, ids, workspace)
  local _, _, _, read = columns_of(schema)
  return fmt("SELECT %s FROM %s WHERE ws_id = %s AND id %s", table.concat(read, ", "), table_of(schema),
             workspace, fmt(IS_ONE_OF, ids))
end


--- Deletes entities by their ids. The result has those that were there.
function _M.delete(schema, ids, workspace)
  local _, _, _, read = columns_of(schema)
  return fmt("DELETE FROM %s WHERE ws_id = %s AND id %s RETURNING %s", table_of(schema), workspace,
             fmt(IS_ONE_OF, ids), table.concat(read, ", "))
end


--- Deletes entities by primary keys of several columns. The result has those that were there.
-- @param rows a JSON list of rows with these columns
function _M.delete_by_keys(schema, rows)
  local _, _, _, read = columns_of(schema)
  local columns = key_columns(schema)
  local key = table.concat(columns, ", ")
  return fmt(DELETE_BY_KEYS, table_of(schema), key, key, rows, table.concat(columns, " uuid, "),
             table.concat(read, ", "))
end


--- Returns the entity of a row that a statement returned, without fields that are null.
function _M.entity(schema, row)
  local entity = {}
  for name, field in schema:each_field() do
    local value = row[field.type == "foreign" and name .. "_id" or name]
    if value ~= nil and value ~= ngx.null then
      entity[name] = field.type == "foreign" and { id = value } or value
    end
  end

  return entity
end


--- Selects which of some consumers have entities that belong to them, as `owner` and `dao`.
-- @param kinds the result of consumer_credentials.kinds
function _M.owners(kinds, ids)
  local statements = {}
  for i, kind in ipairs(kinds) do
    local schema, field = kind.dao.schema, kind.field
    statements[i] = fmt(OWNERS, schema.name, field, table_of(schema), field, fmt(IS_ONE_OF, ids))
  end

  return table.concat(statements, " UNION ALL ")
end


--- Selects credentials of some consumers, as `kind`, `id`, `owner`, `created` and `expires`.
-- @param kinds the result of consumer_credentials.kinds
function _M.credentials(kinds, ids, limit)
  local statements = {}
  for i, kind in ipairs(kinds) do
    local schema, owner = kind.dao.schema, kind.field .. "_id"
    statements[i] = fmt(CREDENTIALS, schema.name, owner,
                        schema.fields.created_at and fmt(EPOCH, "created_at") or "NULL",
                        schema.ttl and fmt(EPOCH, "ttl") or "NULL",
                        table_of(schema), owner, fmt(IS_ONE_OF, ids), schema.ttl and NOT_EXPIRED or "")
  end

  return table.concat(statements, " UNION ALL ") .. " ORDER BY owner, kind, id LIMIT " .. limit
end


--- Selects a consumer for which a condition holds.
function _M.held(workspace, condition)
  return fmt(HELD, workspace, condition)
end


--- Selects consumers with their memberships by DAO, each as the JSON text `entity`.
-- @param targets those that this Kong has (targets.lua)
function _M.consumers(targets, workspace, condition)
  local lists = {}
  for dao, target in pairs(targets) do
    local name = target.name
    lists[#lists + 1] = target.groups
                        and fmt(NAMED_IN_GROUPS, dao, name, name, name, dao, target.groups, target.group)
                        or fmt(NAMED_IN_ROWS, dao, name, name, dao)
  end

  return fmt(CONSUMERS, table.concat(lists, ", "), workspace, condition)
end


--- Selects the consumers with a tag, in the order of their ids, with their tags as a JSON list.
-- @param after the id after which they begin; nil for all
function _M.tagged(workspace, tag, after, limit)
  return fmt(TAGGED, workspace, tag, after and "AND id > " .. after or "", limit)
end


--- Selects a digest of the configurations of scim and scim-bridge.
function _M.plugins_digest()
  return PLUGINS_DIGEST
end


--- Selects the migrations of scim-bridge that were run, as JSON texts (strategies/postgres/connector.lua).
function _M.migrations()
  return MIGRATIONS
end


-- -- A hybrid gateway --------------------------------------------------------

--- Selects the present time in microseconds, as text.
function _M.moment()
  return "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint::text AS moment"
end


--- Notifies those who listen to a channel, at COMMIT.
function _M.notify(channel, payload)
  return fmt("SELECT pg_notify(%s, %s)", channel, payload)
end


--- Selects consumers with their tags in JSON. A commit on one of them ends before, or waits until the
-- transaction ends.
-- @param ids a JSON list
function _M.tags(workspace, ids)
  return fmt(TAGS, workspace, fmt(IS_ONE_OF, ids))
end


--- Has other writers of deltas wait until the transaction ends, so that they are committed in the order of
-- their versions.
function _M.lock_deltas()
  return "LOCK TABLE clustering_sync_version IN SHARE ROW EXCLUSIVE MODE"
end


--- Inserts changed entities for data planes that fetch changes
-- (clustering/services/sync/strategies/postgres.lua).
-- @param deltas a JSON list of objects with the type, the primary key, and the entity unless it is deleted
function _M.deltas(deltas, workspace)
  return fmt(DELTAS, workspace, deltas)
end


--- Selects the ids of the consumers whose username or custom_id is a name, regardless of case.
function _M.named(workspace, name)
  return fmt(NAMED, workspace, name, name)
end


return _M
