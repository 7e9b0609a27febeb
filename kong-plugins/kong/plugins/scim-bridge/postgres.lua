-- Makes those SQL statements of scim-bridge that depend on PostgreSQL. The functions take values as escaped
-- literals.

local fmt = string.format


-- the result is JSON text, which keeps empty lists; %s are the groups, the workspace and the condition
local CONSUMERS = [[
  SELECT json_build_object('id', id, 'username', username, 'custom_id', custom_id,
                           'tags', COALESCE(tags, '{}'), 'acls', %s)::text AS entity
    FROM consumers WHERE ws_id = %s AND (%s)]]

local ACLS = [[
  COALESCE((SELECT json_agg(json_build_object('id', a.id, 'group', a.group,
                                              'tags', COALESCE(a.tags, '{}')) ORDER BY a.group)
              FROM acls a WHERE a.consumer_id = consumers.id), '[]')]]

local REPLACE_TAG = [[
  UPDATE consumers
     SET tags = ARRAY(SELECT tag FROM unnest(tags) AS tag WHERE strpos(tag, %s) <> 1) ||
                array_remove(ARRAY[%s]::text[], NULL),
         updated_at = CURRENT_TIMESTAMP(0)
   WHERE id IN (%s)]]

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

local IDS = "SELECT value::uuid FROM json_array_elements_text(%s)"

local INSERT = "INSERT INTO %s (%s) SELECT %s FROM json_to_recordset(%s) AS new (%s) ON CONFLICT (%s) DO "

local OWNERS = "SELECT DISTINCT '%s' AS dao, %s_id AS owner FROM %s WHERE %s_id IN (%s)"

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


--- Begins a transaction whose statements have a timeout each.
-- @param is_read whether it only reads; without effect in PostgreSQL
function _M.begin(milliseconds, is_read)
  return fmt("BEGIN; SET LOCAL statement_timeout = %d", milliseconds)
end


--- Replaces the tag of consumers that begins with a prefix, or removes it if the new tag is NULL.
-- @param ids a JSON list
function _M.replace_tag(prefix, tag, ids)
  return fmt(REPLACE_TAG, prefix, tag, fmt(IDS, ids))
end


--- Selects one row for each consumer that is in an ACL group.
function _M.given(group, workspace)
  return fmt('SELECT FROM acls WHERE "group" = %s AND ws_id = %s', group, workspace)
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
  add("ws_id", "uuid")

  return names, definitions, values, read
end


local function table_of(schema)
  return schema.table or schema.name
end


local function insert(schema, rows, target)
  local names, definitions, values = columns_of(schema)
  return fmt(INSERT, table_of(schema), table.concat(names, ", "), table.concat(values, ", "), rows,
             table.concat(definitions, ", "), target)
end


--- Inserts entities, except where another one has their cache key. The result has the ids of the new ones.
function _M.insert_absent(schema, rows)
  return insert(schema, rows, "cache_key") .. "NOTHING RETURNING id"
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
  return fmt("SELECT %s FROM %s WHERE ws_id = %s AND id IN (%s)", table.concat(read, ", "), table_of(schema),
             workspace, fmt(IDS, ids))
end


--- Deletes entities by their ids. The result has those that were there.
function _M.delete(schema, ids, workspace)
  local _, _, _, read = columns_of(schema)
  return fmt("DELETE FROM %s WHERE ws_id = %s AND id IN (%s) RETURNING %s", table_of(schema), workspace,
             fmt(IDS, ids), table.concat(read, ", "))
end


--- Returns the entity of a row that `select` or `delete` returned, without fields that are null.
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
-- @param kinds a list of { schema, the field with the consumer }
function _M.owners(kinds, ids)
  local statements = {}
  for i, kind in ipairs(kinds) do
    local schema, field = kind[1], kind[2]
    statements[i] = fmt(OWNERS, schema.name, field, table_of(schema), field, fmt(IDS, ids))
  end

  return table.concat(statements, " UNION ALL ")
end


--- Selects a consumer for which a condition holds.
function _M.held(workspace, condition)
  return fmt(HELD, workspace, condition)
end


--- Selects consumers, each as the JSON text `entity`.
function _M.consumers(with_acls, workspace, condition)
  return fmt(CONSUMERS, with_acls and ACLS or "'[]'::json", workspace, condition)
end


--- Selects a digest of the configurations of scim and scim-bridge.
function _M.plugins_digest()
  return PLUGINS_DIGEST
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
  return fmt(TAGS, workspace, fmt(IDS, ids))
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
