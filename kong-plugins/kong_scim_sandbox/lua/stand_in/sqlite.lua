-- The statements of kong/plugins/scim-bridge/postgres.lua in the SQL of SQLite.

local _M = {}


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
     WHERE id IN (%s) RETURNING id]]):format(prefix, tag, ids)
end


--- There is nothing to lock, because only one transaction writes at a time.
function _M.lock()
  return "SELECT 1"
end


function _M.given(group)
  return 'SELECT 1 FROM acls WHERE "group" = ' .. group
end


function _M.given_with(given, tag)
  return given .. " AND EXISTS (SELECT 1 FROM json_each(acls.tags) WHERE value = " .. tag .. ")"
end


--- There are no other nodes. The last events are kept for tests.
function _M.invalidations(events)
  local rows = {}
  for i, event in ipairs(events) do
    rows[i] = ("(%s, %s)"):format(event[4], event[5])
  end

  return "DELETE FROM cluster_events; INSERT INTO cluster_events VALUES " .. table.concat(rows, ", ")
end


function _M.consumers(_, _, condition)
  return ([[
    SELECT json_object('id', id, 'username', username, 'custom_id', custom_id,
                       'tags', json(COALESCE(tags, '[]')), 'acls', json((
             SELECT json_group_array(json_object('id', a.id, 'group', a."group",
                                                 'tags', json(COALESCE(a.tags, '[]'))))
               FROM (SELECT * FROM acls WHERE consumer = consumers.id ORDER BY "group") a))) AS entity
      FROM consumers WHERE %s ORDER BY id]]):format(condition)
end


--- The sandbox keeps its plugins in a file, and reloads them itself when they change.
function _M.plugins_digest()
  return "SELECT 'none' AS digest"
end


function _M.named(_, name)
  return ("SELECT id FROM consumers WHERE LOWER(username) = LOWER(%s) OR LOWER(custom_id) = LOWER(%s)")
         :format(name, name)
end


return _M
