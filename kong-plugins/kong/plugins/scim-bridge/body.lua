-- Reads the body of a request. Nginx reads it into memory or a file before the plugin server is called, so
-- that a client that sends slowly, or goes away, does not occupy a worker slot there. A body larger than
-- SMALL is sent to the plugin server in pieces when that asks for it (kong.scim.body). Otherwise both
-- processes would hold several copies of a body of 30 MB, whoever sent it.

local envelope = require "kong.plugins.scim-bridge.envelope"


local kong = kong


local SMALL = 8192 -- bytes that Nginx keeps in memory by Kong's default of `client_body_buffer_size`
local PIECE = 1048576 -- bytes of a piece at most


local _M = { SMALL = SMALL }


function _M.over_https()
  return kong.request.get_forwarded_scheme():find("^https%f[%A]") ~= nil
end


local function is_announced_over(max_size)
  return (tonumber(kong.request.get_header("content-length")) or 0) > max_size
end


--- Waits for the body, unless the plugin would answer without it.
-- @param conf The configuration of the plugin `scim`.
function _M.await(conf)
  if (_M.over_https() or conf.require_https == false) and not is_announced_over(conf.max_body_size) then
    local ok, err = pcall(ngx.req.read_body)
    if not ok then -- `begin` gets the same error, and answers with a SCIM error
      kong.log.warn("the body could not be read: ", err)
    end
  end
end


--- Returns the body that Nginx has in memory; nil if it is in a file, or if there is no body.
local function in_memory()
  local ctx = ngx.ctx
  if ctx.scim_body == nil then
    ngx.req.read_body()
    ctx.scim_body = ngx.req.get_body_data() or false -- each call makes a copy
  end

  return ctx.scim_body or nil
end


--- Calls a function with the file of a body, and returns its result; nil without a file.
local function with_file(fn)
  local path = ngx.req.get_body_file()
  if not path then
    return
  end

  local file, err = io.open(path, "rb")
  if not file then
    error("the body could not be read: " .. err)
  end

  local result
  result, err = fn(file)
  file:close()
  return result or error("the body could not be read: " .. tostring(err))
end


--- Returns the size of the body in bytes, or nil if it is over the limit.
function _M.size(max_size)
  if is_announced_over(max_size) then
    return
  end

  local data = in_memory()
  local size = data and #data or with_file(function(file) return file:seek("end") end) or 0
  return size <= max_size and size or nil
end


--- Returns up to `length` bytes of the body after its first `from` bytes.
function _M.read(from, length)
  local data = in_memory()
  if data then
    return data:sub(from + 1, from + length)
  end

  return with_file(function(file)
    local ok, err = file:seek("set", from)
    if not ok then
      return nil, err
    end
    return file:read(length) or ""
  end) or ""
end


local function is_whole(number, least, most)
  return type(number) == "number" and number >= least and number <= most and number % 1 == 0
end


--- kong.scim.body answers a piece of the body. The plugin server calls it once it has authenticated the
-- client.
function _M.piece(arg)
  envelope.expect(is_whole(arg.from, 0, 2^53) and is_whole(arg.length, 1, PIECE),
                  "`from` must be a number of bytes and `length` one from 1 to " .. PIECE)
  return { piece = ngx.encode_base64(_M.read(arg.from, arg.length)) }
end


return _M
