-- The wire of kong.scim.*: one JSON text in, one JSON text out (kong_scim/bridge.py documents it).

local cjson = require("cjson.safe").new()
local CJSON_MAX_PRECISION = require("kong.constants").CJSON_MAX_PRECISION


local kong         = kong
local re_find      = ngx.re.find
local null         = ngx.null


local VERSION = 1
local INTERNAL = '{"error":{"code":0,"name":"INTERNAL","message":' ..
                 '"scim-bridge failed: see Kong\'s error log"}}'


cjson.decode_array_with_array_mt(true)
cjson.encode_number_precision(CJSON_MAX_PRECISION)


local _M = { VERSION = VERSION }


--- A JSON list, also when it is empty.
function _M.array(list)
  return setmetatable(list, cjson.array_mt)
end


--- nil for a JSON null.
function _M.given(value)
  if value ~= null then
    return value
  end
end


--- Whether a text is UTF-8: anything else would break the connection with kong-pdk's listener.
function _M.is_utf8(text)
  local _, _, err = re_find(text, "\\A", "jou")
  return not err
end


--- nil and an error in the shape of the wire.
function _M.fail(name, message, more)
  local err = more or {}
  err.code = err.code or 0
  err.name = name
  err.message = message
  return nil, err
end


local function answer(fn, text)
  local argument = type(text) == "string" and cjson.decode(text)
  if type(argument) ~= "table" then
    return _M.fail("BAD_REQUEST", "the argument must be one JSON object, as text")
  end

  if argument.bridge_version ~= VERSION then
    return _M.fail("BRIDGE_VERSION", "this scim-bridge speaks version " .. VERSION ..
                   " of the wire and the plugin server another one: install both from one release")
  end

  return fn(argument)
end


--- Wraps a function of a decoded argument, which answers a result, or nil and an error.
-- The wrapped one never raises: an error() would leave the Python side waiting for ever.
function _M.wrap(fn)
  return function(text)
    local ok, result, err = pcall(answer, fn, text)
    if not ok then
      kong.log.err("[scim-bridge] ", result)
      return INTERNAL
    end

    local encoded
    encoded, err = cjson.encode(result ~= nil and { ok = result } or { error = err })
    if not encoded or not _M.is_utf8(encoded) then
      kong.log.err("[scim-bridge] could not encode an answer: ", err or "it is not UTF-8")
      return INTERNAL
    end

    return encoded
  end
end


return _M
