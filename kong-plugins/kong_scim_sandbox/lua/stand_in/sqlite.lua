-- The statements of kong/plugins/scim-bridge/postgres.lua in the SQL of SQLite.

local json = ...


local IDS = "SELECT value FROM json_each(%s)"


local _M = { DATABASE = "sqlite", DIALECT = "sqlite" }


--- A transaction that writes waits at its beginning until no other one writes. statement_timeout is a
-- function of the sandbox.
function _M.begin(milliseconds, is_read)
  return ("%s; SELECT statement_timeout(%d)"):format(is_read and "BEGIN" or "BEGIN IMMEDIATE", milliseconds)
end


function _M.replace_tag(prefix, tag, ids)
  return ([[
    UPDATE consumers
       SET tags = (SELECT json_group_array(tag)
                     FROM (SELECT value AS tag FROM json_each(COALESCE(tags, '[]'))
                            WHERE instr(value, %s) <> 1
                            UNION ALL SELECT %s) WHERE tag IS NOT NULL),
           updated_at = CAST(strftime('%%s', 'now') AS INTEGER)
     WHERE id IN (%s)]]):format(prefix, tag, IDS:format(ids))
end


--- There is nothing to lock, because only one transaction writes at a time.
function _M.lock()
  return "SELECT 1"
end
_M.lock_row = _M.lock


function _M.given(target, dao, group)
  return ('SELECT 1 FROM %s AS given WHERE "%s" = %s'):format(target.groups or dao, target.name, group)
end


function _M.given_with(given, tag)
  return given .. " AND EXISTS (SELECT 1 FROM json_each(given.tags) WHERE value = " .. tag .. ")"
end


--- There are no other nodes. The last list of keys is kept for tests.
function _M.invalidations(_, _, channel, keys)
  return ("INSERT OR REPLACE INTO cluster_events (rowid, channel, data) VALUES (1, %s, %s)")
         :format(channel, keys)
end


-- -- A hybrid gateway -------------------------------------------------------

--- `moment` is a function of the sandbox.
function _M.moment()
  return "SELECT moment() AS moment"
end


--- There is no other control plane.
function _M.notify()
  return "SELECT 1"
end


function _M.tags(_, ids)
  return ("SELECT id, COALESCE(tags, '[]') AS tags FROM consumers WHERE id IN (%s)"):format(IDS:format(ids))
end


-- -- Sets of entities ------------------------------------------------------

--- Returns the columns of a schema, and the expressions with their values in a row in JSON.
local function columns_of(schema)
  local names, values = {}, {}
  for name, field in schema:each_field() do
    local given = field.type == "foreign" and name .. "_id" or name
    names[#names + 1] = '"' .. name .. '"'
    values[#values + 1] = ("json_extract(value, '$.%s')"):format(given)
  end

  return table.concat(names, ", "), table.concat(values, ", ")
end


local function insert(schema, rows, target)
  local names, values = columns_of(schema)
  return ("INSERT INTO %s (%s) SELECT %s FROM json_each(%s) WHERE TRUE ON CONFLICT (%s) DO "):format(
    schema.name, names, values, rows, target)
end


local function listed(names)
  return '"' .. table.concat(names, '", "') .. '"'
end


function _M.insert_absent(schema, rows)
  return insert(schema, rows, listed(schema.cache_key)) .. "NOTHING RETURNING " .. listed(schema.primary_key)
end


function _M.delete_by_keys(schema, rows)
  local values = {}
  for i, name in ipairs(schema.primary_key) do
    values[i] = ("json_extract(value, '$.%s_id')"):format(name)
  end

  return ("DELETE FROM %s WHERE (%s) IN (SELECT %s FROM json_each(%s)) RETURNING *"):format(
    schema.name, listed(schema.primary_key), table.concat(values, ", "), rows)
end


function _M.upsert(schema, rows, fields)
  local changes = {}
  for i, name in ipairs(fields) do
    changes[i] = ('"%s" = excluded."%s"'):format(name, name)
  end

  return insert(schema, rows, "id") .. "UPDATE SET " .. table.concat(changes, ", ")
end


function _M.select(schema, ids)
  return ("SELECT * FROM %s WHERE id IN (%s)"):format(schema.name, IDS:format(ids))
end


function _M.delete(schema, ids)
  return ("DELETE FROM %s WHERE id IN (%s) RETURNING *"):format(schema.name, IDS:format(ids))
end


function _M.entity(schema, row)
  local entity = {}
  for name, field in schema:each_field() do
    local value = row[name]
    if value ~= nil and value ~= ngx.null then
      entity[name] = field.type == "foreign" and { id = value } or field.type == "set" and json.decode(value)
                     or value
    end
  end

  return entity
end


function _M.owners(kinds, ids)
  local statements = {}
  for i, kind in ipairs(kinds) do
    local name, field = kind.dao.schema.name, kind.field
    statements[i] = ("SELECT DISTINCT '%s' AS dao, %s AS owner FROM %s WHERE %s IN (%s)"):format(
      name, field, name, field, IDS:format(ids))
  end

  return table.concat(statements, " UNION ALL ")
end


function _M.credentials(kinds, ids, limit)
  local statements = {}
  for i, kind in ipairs(kinds) do
    local schema, field = kind.dao.schema, kind.field
    statements[i] = ([[
      SELECT '%s' AS kind, id, %s AS owner, created_at AS created, %s AS expires
        FROM %s WHERE %s IN (%s)]]):format(schema.name, field, schema.ttl and "created_at + ttl" or "NULL",
                                           schema.name, field, IDS:format(ids))
  end

  return table.concat(statements, " UNION ALL ") .. " ORDER BY owner, kind, id LIMIT " .. limit
end


function _M.held(_, condition)
  return ("SELECT id FROM consumers WHERE %s LIMIT 1"):format(condition)
end


local NAMED_IN_ROWS = [[
  '%s', json((SELECT json_group_array(json_object('id', a.id, 'group', a."%s",
                                                  'tags', json(COALESCE(a.tags, '[]'))))
                FROM (SELECT * FROM %s WHERE consumer = consumers.id ORDER BY "%s") a))]]

local NAMED_IN_GROUPS = [[
  '%s', json((SELECT json_group_array(json_object('id', consumers.id || ':' || name, 'group', name))
                FROM (SELECT g."%s" AS name FROM %s m JOIN %s g ON g.id = m."%s"
                       WHERE m.consumer = consumers.id ORDER BY 1)))]]


function _M.consumers(targets, _, condition)
  local lists = {}
  for dao, target in pairs(targets) do
    local name = target.name
    lists[#lists + 1] = target.groups and NAMED_IN_GROUPS:format(dao, name, dao, target.groups, target.group)
                        or NAMED_IN_ROWS:format(dao, name, dao, name)
  end

  return ([[
    SELECT json_object('id', id, 'username', username, 'custom_id', custom_id,
                       'tags', json(COALESCE(tags, '[]')), 'memberships', json_object(%s)) AS entity
      FROM consumers WHERE %s ORDER BY id]]):format(table.concat(lists, ", "), condition)
end


function _M.tagged(_, tag, after, limit)
  return ([[
    SELECT id, tags FROM consumers
     WHERE EXISTS (SELECT 1 FROM json_each(COALESCE(tags, '[]')) WHERE value = %s) %s
     ORDER BY id LIMIT %d]]):format(tag, after and "AND id > " .. after or "", limit)
end


--- The sandbox keeps its plugins in a file, and reloads them itself when they change.
function _M.plugins_digest()
  return "SELECT 'none' AS digest"
end


function _M.named(_, name)
  return ("SELECT id FROM consumers WHERE LOWER(username) = LOWER(%s) OR LOWER(custom_id) = LOWER(%s)")
         :format(name, name)
end


--- The sandbox makes all tables at its start, so all migrations were run.
function _M.migrations()
  local names = json.encode(require "kong.plugins.scim-bridge.migrations.init")
  return ("SELECT '%s' AS executed, '[]' AS pending"):format(names)
end


return _M
