-- Decodes the arguments and encodes the answers of kong.scim.*, each one JSON text (kong_scim/bridge/).

local cjson = require("cjson.safe").new()
local internals = require "kong.plugins.scim-bridge.kong_internals"
local parts = require "kong.plugins.scim-bridge.parts"


local kong = kong


local VERSION = 7
local INTERNAL = '{"error":{"code":0,"name":"INTERNAL","message":' ..
                 '"scim-bridge failed: see Kong\'s error log"}}'


cjson.decode_array_with_array_mt(true)
cjson.encode_number_precision(internals.JSON_PRECISION)


local _M = { VERSION = VERSION, decode = cjson.decode, encode = cjson.encode }


--- Makes a table a JSON list, also if it is empty.
function _M.array(list)
  return setmetatable(list, cjson.array_mt)
end


--- Returns a value, or nil for a JSON null.
function _M.given(value)
  if value ~= ngx.null then
    return value
  end
end


--- Tells whether a text is UTF-8. Anything else would break the connection with kong-pdk's listener.
function _M.is_utf8(text)
  local _, _, err = ngx.re.find(text, "\\A", "jou")
  return not err
end


--- Ends a call with an error in the form of the envelope.
function _M.raise(name, message, more)
  local err = more or {}
  err.code, err.name, err.message = err.code or 0, name, message
  error(err)
end


--- Returns a condition, or ends the call with an error of the caller if it does not hold.
function _M.expect(condition, message)
  return condition or _M.raise("BAD_REQUEST", message)
end


--- Returns the result of a DAO, or raises its error with Kong's code, name ("schema violation", ...), message
-- and fields.
-- @param tx the transaction in which the DAO runs (entities.lua)
function _M.result_of(tx, result, err, err_t)
  if not err then
    return result
  elseif not err_t or err_t.code == kong.db.errors.codes.DATABASE_ERROR then
    tx.raise(err)
  end

  _M.raise(err_t.name, err_t.message, { code = err_t.code, fields = err_t.fields })
end


--- Calls a function for a step. Its errors get the index of the step (from 0) and its label, unless they are
-- of another step.
function _M.at_step(index, step, fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then
    return result
  end

  if type(result) == "table" and not result.step then
    result.step, result.label = index, type(step) == "table" and step.label or nil
  end
  error(result, 0)
end


local function answer(fn, text)
  local argument = type(text) == "string" and cjson.decode(text)
  _M.expect(type(argument) == "table", "the argument must be one JSON object, as text")

  if argument.bridge_version ~= VERSION then
    _M.raise("BRIDGE_VERSION", "this scim-bridge speaks version " .. VERSION .. " of the wire and " ..
             "the plugin server another one: install both from one release")
  end

  -- an escaped NUL is \u0000 after an even number of backslashes
  _M.expect(not text:find("\\u0000", 1, true) or not text:gsub("\\\\", ""):find("\\u0000", 1, true),
            "a value has a NUL character, which PostgreSQL cannot hold")

  return fn(argument)
end


--- Wraps a function that takes a decoded argument, and returns a result or raises an error.
-- The wrapped function never raises, because then the Python side would wait for ever.
function _M.wrap(fn)
  return function(text)
    local ok, result = pcall(answer, fn, parts.joined(text))
    local encoded, err
    if ok or type(result) == "table" then
      encoded, err = cjson.encode({ [ok and "ok" or "error"] = result })
      result = err or "an answer is not UTF-8"
    end

    if not encoded or not _M.is_utf8(encoded) then
      kong.log.err("[scim-bridge] ", result)
      return INTERNAL
    end

    return encoded
  end
end


return _M
