-- Reads and writes JSON as lua-cjson does, as far as scim-bridge uses it: null is ngx.null, a list has the
-- metatable array_mt, an empty table without it is an object, and an escape that is not Unicode is an error.


local char, find, fmt, sub = string.char, string.find, string.format, string.sub


local PRECISION = "%.16g" -- kong.constants.CJSON_MAX_PRECISION
local DEEPEST = 1000

local ESCAPES = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
local CONSTANTS = { ["true"] = true, ["false"] = false, null = ngx.null }

local SHORT = { ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n",
                ["\r"] = "\\r", ["\t"] = "\\t" }


local array_mt = {}


local function fail(message, at)
  error({ json = message .. " at character " .. at })
end


local function utf8(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end

  return char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
              0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end


--- Returns the character of the escape whose backslash is at `at`, and the position after the escape.
local function unescape(text, at)
  local letter = sub(text, at + 1, at + 1)
  if ESCAPES[letter] then
    return ESCAPES[letter], at + 2
  end

  local code = letter == "u" and tonumber(text:match("^%x%x%x%x", at + 2) or "", 16) or fail("bad escape", at)
  if code < 0xD800 or code > 0xDFFF then
    return utf8(code), at + 6
  end

  local low = tonumber(text:match("^\\u([dD][c-fC-F]%x%x)", at + 6) or "", 16)
  if code > 0xDBFF or not low then
    fail("bad surrogate", at)
  end
  return utf8(0x10000 + (code - 0xD800) * 1024 + low - 0xDC00), at + 12
end


local function read_string(text, at)
  local parts, from = {}, at + 1
  while true do
    local stop = find(text, '[%c"\\]', from) or fail("unfinished string", at)
    parts[#parts + 1] = sub(text, from, stop - 1)
    local c = sub(text, stop, stop)
    if c == '"' then
      return table.concat(parts), stop + 1
    elseif c == "\\" then
      parts[#parts + 1], from = unescape(text, stop)
    elseif c == "\127" then
      parts[#parts + 1], from = c, stop + 1
    else
      fail("control character", stop)
    end
  end
end


local read


local function read_list(text, at, depth)
  local list, n = setmetatable({}, array_mt), 0
  at = find(text, "%S", at + 1) or fail("unfinished list", at)
  if sub(text, at, at) == "]" then
    return list, at + 1
  end

  while true do
    n = n + 1
    list[n], at = read(text, at, depth + 1)
    local _, stop, c = find(text, "^%s*([,%]])", at)
    if not stop then
      fail("no list", at)
    elseif c == "]" then
      return list, stop + 1
    end
    at = stop + 1
  end
end


local function read_object(text, at, depth)
  local object = {}
  at = find(text, "%S", at + 1) or fail("unfinished object", at)
  if sub(text, at, at) == "}" then
    return object, at + 1
  end

  while true do
    at = find(text, '%S', at) or fail("unfinished object", at)
    if sub(text, at, at) ~= '"' then
      fail("no name", at)
    end

    local name
    name, at = read_string(text, at)
    local _, colon = find(text, "^%s*:", at)
    object[name], at = read(text, (colon or fail("no value", at)) + 1, depth + 1)
    local _, stop, c = find(text, "^%s*([,}])", at)
    if not stop then
      fail("no object", at)
    elseif c == "}" then
      return object, stop + 1
    end
    at = stop + 1
  end
end


function read(text, at, depth)
  at = find(text, "%S", at) or fail("no value", at)
  local c = sub(text, at, at)
  if depth > DEEPEST then
    fail("too many nested values", at)
  elseif c == '"' then
    return read_string(text, at)
  elseif c == "{" then
    return read_object(text, at, depth)
  elseif c == "[" then
    return read_list(text, at, depth)
  end

  local word = text:match("^%l+", at)
  if word and CONSTANTS[word] ~= nil then
    return CONSTANTS[word], at + #word
  end

  local digits = text:match("^-?%d[%d.eE+-]*", at)
  local number = tonumber(digits or "")
  if not number then
    fail("no value", at)
  end
  return number, at + #digits
end


local function decode(text)
  local value, at = read(text, 1, 1)
  if find(text, "%S", at) then
    fail("more than one value", at)
  end

  return value
end


local function escape(c)
  return SHORT[c] or fmt("\\u%04x", c:byte())
end


local function quoted(text)
  return '"' .. text:gsub('[%c"\\/]', escape) .. '"'
end


local write


local function write_table(value, out, depth)
  if depth > DEEPEST then
    error({ json = "too many nested values" })
  end

  local before = #out
  if getmetatable(value) == array_mt or value[1] ~= nil then
    out[#out + 1] = "["
    for i = 1, #value do
      out[#out + 1] = i > 1 and "," or nil
      write(value[i], out, depth + 1)
    end
    out[#out + 1] = "]"
    return
  end

  out[#out + 1] = "{"
  for name, each in pairs(value) do
    if #out > before + 1 then
      out[#out + 1] = ","
    end
    if type(name) ~= "string" and type(name) ~= "number" then
      error({ json = "a name is no text" })
    end
    out[#out + 1] = quoted(tostring(name)) .. ":"
    write(each, out, depth + 1)
  end
  out[#out + 1] = "}"
end


function write(value, out, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = quoted(value)
  elseif kind == "table" then
    write_table(value, out, depth)
  elseif kind == "boolean" then
    out[#out + 1] = tostring(value)
  elseif value == ngx.null then
    out[#out + 1] = "null"
  elseif kind == "number" and value == value and math.abs(value) ~= math.huge then
    out[#out + 1] = fmt(PRECISION, value)
  else
    error({ json = "a " .. kind .. " is no JSON" })
  end
end


local function encode(value)
  local out = {}
  write(value, out, 1)
  return table.concat(out)
end


--- Returns a function that returns nil and an error where `fn` raises one.
local function safe(fn)
  return function(value)
    local ok, result = pcall(fn, value)
    if ok then
      return result
    end

    return nil, type(result) == "table" and result.json or tostring(result)
  end
end


local function nothing() end


local _M = { array_mt = array_mt, null = ngx.null, decode = decode, encode = encode }


_M.safe = {
  array_mt = array_mt,
  null = ngx.null,
  decode = safe(decode),
  encode = safe(encode),
  decode_array_with_array_mt = nothing, -- decode always does this
  encode_number_precision = nothing, -- encode always uses Kong's
}


function _M.safe.new()
  return _M.safe
end


return _M
