-- Runs SQL text with parameters $1, $2, ... on Kong's PostgreSQL connector, and names its errors.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local postgres = require "kong.plugins.scim-bridge.postgres"


local kong = kong
local fmt  = string.format


local TIMEOUT = 4000 -- the default timeout of a statement in milliseconds


-- Kong's codes (kong/db/errors.lua) of the violations that a statement can cause
local CODES = {
  ["foreign key violation"]       = 4,
  ["unique constraint violation"] = 5,
}

-- names of errors by SQLSTATE, else by its class (PostgreSQL, appendix A); any other is an error of the
-- caller
local NAMES = {
  ["40001"] = "CONFLICT", -- serialization failure
  ["40P01"] = "CONFLICT", -- deadlock
  ["55P03"] = "CONFLICT", -- lock not available
  ["57014"] = "TIMEOUT",  -- query canceled, by statement_timeout or an administrator
  ["23503"] = "foreign key violation",
  ["23505"] = "unique constraint violation",
  ["25006"] = "READ_ONLY", -- a standby
  ["08"]    = "DATABASE",  -- connection exception
  ["53"]    = "DATABASE",  -- insufficient resources
  ["57"]    = "DATABASE",  -- operator intervention
  ["58"]    = "DATABASE",  -- system error
  ["XX"]    = "DATABASE",  -- internal error
}


local _M = {}


local function literal(connector, value, written)
  if written and type(value) == "table" and value.value == "written" then
    value = envelope.encode(written)
  end

  if type(value) == "string" or type(value) == "boolean" then
    return connector:escape_literal(value)
  elseif value == ngx.null then
    return "NULL"
  elseif type(value) ~= "number" then
    return nil, "is no string, number, boolean or null"
  elseif value ~= value or math.abs(value) >= 2 ^ 53 then
    return nil, "is not exact in JSON, pass it as text"
  end

  -- tostring() keeps only 14 digits; the brackets prevent that -$1 becomes a comment
  return fmt(value == math.floor(value) and "(%d)" or "(%.17g)", value)
end


--- Returns a statement's text with its values. They are inserted in one pass, so that "$2" in a value stays.
local function bind(connector, text, params, written)
  return (text:gsub("%$(%d+)", function(digits)
    local value, err = literal(connector, params[tonumber(digits)], written)
    return envelope.expect(value, "the value of $" .. digits .. " " .. tostring(err))
  end))
end


--- Returns the text that begins a transaction whose statements each have a timeout in milliseconds.
-- Kong waits for a statement only for pg_timeout, after which PostgreSQL would otherwise still run it.
-- @param is_read whether it only reads
function _M.begin(timeout, is_read)
  timeout = envelope.given(timeout) or TIMEOUT
  envelope.expect(type(timeout) == "number" and timeout >= 1, "`timeout` must be a number of milliseconds")
  local most = math.min(timeout, 0.9 * (kong.configuration.pg_timeout or timeout))
  return postgres.begin(math.max(1, most), is_read)
end


--- Connects for this request, and keeps the SQLSTATE of errors.
-- Kong makes a new pgmoon object for each connection and pools only the socket, so the changed method ends
-- with the request.
function _M.connect(connector)
  if not internals.has_database() then
    envelope.raise("BAD_REQUEST", "this Kong has no database for SCIM's tables")
  end

  local conn, err = connector:connect("write")
  if not conn then
    envelope.raise("DATABASE", "the database does not answer: " .. err)
  end

  local parse_error = conn.parse_error
  function conn:parse_error(...)
    local message, fields = parse_error(self, ...)
    self.last_error, self.sqlstate = message, fields and fields.code -- the connector drops it
    return message, fields
  end

  return conn
end


--- Raises the error of the last query on a connection.
function _M.raise(conn, err)
  -- the last SQLSTATE may be that of a notice, and not of this error
  local state = err:find(conn.last_error or err .. "?", 1, true) and conn.sqlstate
  local name = not state and "DATABASE" or NAMES[state] or NAMES[state:sub(1, 2)] or "BAD_REQUEST"
  -- the lines after the first repeat values
  envelope.raise(name, err:match("^[^\n]*"), { code = CODES[name] })
end


--- Checks a statement, and returns its text with its values.
-- @param written the value for a parameter { value = "written" }: counts of entities by operation and DAO
function _M.text(connector, statement, written)
  envelope.expect(type(statement) == "table" and type(statement.sql) == "string"
                  and type(statement.params or {}) == "table",
                  "a statement needs `sql`, a text, and `params`, a list")
  return bind(connector, statement.sql, statement.params or {}, written)
end


--- Returns the number of rows that a statement changed or returned, and the rows that it returned.
-- @param answer what the connector answers to it
function _M.outcome(answer)
  local rows = answer == true and {} or answer
  return rows.affected_rows or #rows, envelope.array(rows)
end


return _M
