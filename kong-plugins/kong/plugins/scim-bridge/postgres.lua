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


local _M = {}


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
  return fmt("SELECT %s FROM %s WHERE ws_id = %s AND id %s", table.concat(read, ", "), table_of(schema),
             workspace, fmt(IS_ONE_OF, ids))
end


--- Deletes entities by their ids. The result has those that were there.
function _M.delete(schema, ids, workspace)
  local _, _, _, read = columns_of(schema)
  return fmt("DELETE FROM %s WHERE ws_id = %s AND id %s RETURNING %s", table_of(schema), workspace,
             fmt(IS_ONE_OF, ids), table.concat(read, ", "))
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
-- @param kinds the result of entities.credentials
function _M.owners(kinds, ids)
  local statements = {}
  for i, kind in ipairs(kinds) do
    local schema, field = kind.dao.schema, kind.field
    statements[i] = fmt(OWNERS, schema.name, field, table_of(schema), field, fmt(IS_ONE_OF, ids))
  end

  return table.concat(statements, " UNION ALL ")
end


--- Selects credentials of some consumers, as `kind`, `id`, `owner`, `created` and `expires`.
-- @param kinds the result of entities.credentials
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


--- Selects consumers, each as the JSON text `entity`.
function _M.consumers(with_acls, workspace, condition)
  return fmt(CONSUMERS, with_acls and ACLS or "'[]'::json", workspace, condition)
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


--- Selects the ids of the consumers whose username or custom_id is a name, regardless of case.
function _M.named(workspace, name)
  return fmt(NAMED, workspace, name, name)
end


return _M
