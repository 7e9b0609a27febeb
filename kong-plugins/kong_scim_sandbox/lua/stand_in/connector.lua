-- kong.db.connector, as Kong's for PostgreSQL behaves, over one SQLite connection for each thread. It keeps
-- the connection of a transaction until an error loses it, as Kong's does.

local host, json = ...


local stored = {}


local connector = {}


function connector:connect()
  local conn = { parse_error = function(_, message, fields)
    return message, fields
  end }
  stored.write = conn
  return conn
end


function connector:store_connection(conn, operation)
  stored[operation] = conn
end


function connector:get_stored_connection(operation)
  return stored[operation]
end


--- Forgets the connection of this thread; SQLite ends its transaction.
function connector:lose()
  host.roll_back()
  stored.write, stored.read = nil, nil
end


function connector:close()
  self:lose()
end


function connector:setkeepalive()
  host.roll_back()
  stored.write, stored.read = nil, nil
end


function connector:escape_literal(value)
  if type(value) == "boolean" then
    return value and "TRUE" or "FALSE"
  end

  return "'" .. value:gsub("'", "''") .. "'"
end


local function rows_of(result)
  local affected = result.affected_rows ~= ngx.null and result.affected_rows or nil
  local rows = result.rows ~= ngx.null and result.rows or affected and {}
  if rows then
    rows.affected_rows = affected
  end

  return rows or true
end


--- Runs one or more statements; of more than one it answers a list.
function connector:query(text)
  local answer = json.decode(host.query(text))
  local results = {}
  for i, result in ipairs(answer.results) do
    results[i] = rows_of(result)
  end

  if answer.error ~= ngx.null then
    local conn, message = stored.write, answer.error.message
    if conn then
      message = conn:parse_error(message, { code = answer.error.sqlstate })
    end
    self:lose()
    return nil, message, results, #results
  end

  return results[2] and results or results[1], nil, nil, #results
end


return connector
