-- Stands for kong.db.connector over one SQLite connection for each thread. Like Kong's connector for
-- PostgreSQL, it keeps the connection of a transaction until an error occurs.

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


--- Drops the connection of this thread, and rolls its transaction back.
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


--- Runs one or more statements; returns the result of one, or a list of results.
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
