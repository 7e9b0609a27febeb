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
   WHERE id IN (%s) RETURNING id, ws_id]]

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

local INVALIDATIONS = 'INSERT INTO cluster_events (id, node_id, "at", expire_at, channel, data) VALUES '
local INVALIDATION = "('%s', '%s', clock_timestamp() + interval '1 second', " ..
                     "clock_timestamp() + interval '%d seconds', %s, %s)"


local _M = {}


--- Begins a transaction whose statements have a timeout each.
-- @param is_read whether it only reads; without effect in PostgreSQL
function _M.begin(milliseconds, is_read)
  return fmt("BEGIN; SET LOCAL statement_timeout = %d", milliseconds)
end


--- Replaces the tag of consumers that begins with a prefix, or removes it if the new tag is NULL.
function _M.replace_tag(prefix, tag, ids)
  return fmt(REPLACE_TAG, prefix, tag, ids)
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
-- @param events a list of { id, node, ttl, channel, key }: the last two are literals
function _M.invalidations(events)
  local rows = {}
  for i, event in ipairs(events) do
    rows[i] = fmt(INVALIDATION, unpack(event))
  end

  return INVALIDATIONS .. table.concat(rows, ", ")
end


--- Selects consumers, each as the JSON text `entity`.
function _M.consumers(with_acls, workspace, condition)
  return fmt(CONSUMERS, with_acls and ACLS or "'[]'::json", workspace, condition)
end


--- Selects a digest of the configurations of scim and scim-bridge.
function _M.plugins_digest()
  return PLUGINS_DIGEST
end


--- Selects the ids of the consumers whose username or custom_id is a name, regardless of case.
function _M.named(workspace, name)
  return fmt(NAMED, workspace, name, name)
end


return _M
