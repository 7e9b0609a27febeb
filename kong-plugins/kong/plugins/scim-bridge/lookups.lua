-- Finds consumers by ids and names.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"


local expect = envelope.expect
local given  = envelope.given


local FIELDS = { "id", "username", "custom_id" }


local _M = {}


--- Returns the requested values by field, without those that no consumer can have.
-- @param requested lists of values, by field
function _M.wanted(requested)
  expect(type(requested) == "table", "consumers are looked up by an object of lists")
  local by_field = {}
  for _, field in ipairs(FIELDS) do
    local values = given(requested[field]) or {}
    expect(type(values) == "table", "consumers are looked up by an object of lists")
    by_field[field] = {}
    for _, value in ipairs(values) do
      if type(value) == "string" and (field ~= "id" or internals.is_valid_uuid(value)) then
        table.insert(by_field[field], value)
      end
    end
  end

  return by_field
end


--- Returns the condition of SQL that selects these consumers; nil if there is no value.
function _M.condition(connector, by_field)
  local conditions = {}
  for _, field in ipairs(FIELDS) do
    local literals = {}
    for i, value in ipairs(by_field[field]) do
      literals[i] = connector:escape_literal(value)
    end

    if literals[1] then
      table.insert(conditions, field .. " IN (" .. table.concat(literals, ", ") .. ")")
    end
  end

  return conditions[1] and table.concat(conditions, " OR ")
end


--- Returns a consumer by the value of a field; nil without one; or nil and an error.
function _M.by_dao(dao, field, value)
  if field == "id" then
    return dao:select({ id = value })
  end

  return dao["select_by_" .. field](dao, value)
end


return _M
