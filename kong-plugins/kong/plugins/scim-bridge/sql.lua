-- SQL text with $1, $2, ... on Kong's Postgres connector, and what went wrong with it.

local envelope = require "kong.plugins.scim-bridge.envelope"


local find     = string.find
local fmt      = string.format
local gsub     = string.gsub
local sub      = string.sub
local match    = string.match
local null     = ngx.null
local fail     = envelope.fail


-- Kong's codes (kong/db/errors.lua) of the violations that a statement of our own can meet
local CODES = {
  ["foreign key violation"]       = 4,
  ["unique constraint violation"] = 5,
}

-- by SQLSTATE, else by its class (PostgreSQL, appendix A); what is not here is a defect of the caller
local NAMES = {
  ["40001"] = "CONFLICT", -- serialization failure
  ["40P01"] = "CONFLICT", -- deadlock
  ["55P03"] = "CONFLICT", -- lock not available
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


local function literal(connector, value)
  local kind = type(value)
  if kind == "number" then
    if value ~= value or math.abs(value) == math.huge then
      return nil, "is no finite number"
    end

    if value ~= math.floor(value) then
      value = fmt("%.17g", value)
    elseif math.abs(value) < 2 ^ 53 then
      value = fmt("%d", value) -- tostring() would cut it at 14 digits
    else
      return nil, "is not exact in JSON, pass it as text"
    end

    return "(" .. value .. ")" -- so that -$1 never becomes a comment
  end

  if kind == "string" and find(value, "\0", 1, true) then
    return nil, "has a NUL character, which PostgreSQL cannot hold"
  end

  if value == null then
    return "NULL"
  end

  if kind == "string" or kind == "boolean" then
    return connector:escape_literal(value)
  end

  return nil, "is no string, number, boolean or null"
end


--- Puts the values into a statement's text, in one pass: a value with "$2" in it stays a value.
function _M.bind(connector, statement)
  local text, params = statement.sql, envelope.given(statement.params) or {}
  if type(text) ~= "string" or type(params) ~= "table" then
    return fail("BAD_REQUEST", "a statement needs `sql`, a text, and `params`, a list")
  end

  local bad
  local bound = gsub(text, "%$(%d+)", function(digits)
    local value, err = literal(connector, params[tonumber(digits)])
    bad = bad or err and "the value of $" .. digits .. " " .. err
    return value
  end)

  if bad then
    return fail("BAD_REQUEST", bad)
  end

  return bound
end


--- Connects for this request, so that errors tell their SQLSTATE.
-- Kong makes a new pgmoon object for each connect and pools only the socket: what is shadowed here
-- ends with the request.
function _M.connect(connector)
  local conn, err = connector:connect("write")
  if not conn then
    return fail("DATABASE", "the database does not answer: " .. err)
  end

  local parse_error = conn.parse_error
  function conn:parse_error(...)
    local message, fields = parse_error(self, ...)
    self.last_error, self.sqlstate = message, fields and fields.code -- the connector drops it
    return message, fields
  end

  return conn
end


--- The error of the last query on a connection, in the shape of the wire.
function _M.explain(conn, err)
  local state = find(err, conn.last_error or err .. "?", 1, true) and conn.sqlstate -- or a notice's
  local name = not state and "DATABASE" or NAMES[state] or NAMES[sub(state, 1, 2)] or "BAD_REQUEST"
  -- what comes after the first line repeats values
  return fail(name, match(err, "^[^\n]*"), { code = CODES[name] })
end


--- Runs a statement; answers its rows and how many it touched or returned.
function _M.run(connector, conn, statement)
  local text, err = _M.bind(connector, statement)
  if not text then
    return nil, err
  end

  local res, query_err = connector:query(text)
  if not res then
    return _M.explain(conn, query_err)
  end

  local rows = envelope.array({})
  if type(res) == "table" then
    for i, row in ipairs(res) do
      rows[i] = row
    end
  end

  return rows, type(res) == "table" and res.affected_rows or #rows
end


--- `'a', 'b'` of a list of strings, or nil where there is none.
function _M.list(connector, values)
  local literals = {}
  for _, value in pairs(values) do
    literals[#literals + 1] = connector:escape_literal(value)
  end

  return literals[1] and table.concat(literals, ", ")
end


return _M
