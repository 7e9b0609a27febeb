-- kong.scim.begin answers the facts about a request, with its body if that is small (see body.lua).

local body = require "kong.plugins.scim-bridge.body"
local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local node = require "kong.plugins.scim-bridge.node"
local paths = require "kong.plugins.scim-bridge.paths"


local kong = kong


local DEFAULT_PORTS = { http = 80, https = 443 }
local HOST = [[^(?:[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9])?\.?|\[[0-9a-f:.]{2,45}\])$]]
local MAX_HEADERS = 1000 -- the most that kong.request.get_headers reads
local CONDITIONS = { "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since" }


local function latin1_to_utf8(c)
  local b = c:byte()
  return string.char(0xC0 + (b - b % 64) / 64, 0x80 + b % 64)
end


local function get_headers()
  local headers = {}
  for name, value in pairs(kong.request.get_headers(MAX_HEADERS)) do
    value = type(value) == "table" and value[1] or value
    value = type(value) == "string" and value or ""
    headers[name] = envelope.is_utf8(value) and value or value:gsub("[\128-\255]", latin1_to_utf8)
  end

  -- The plugin checks these conditions. Nginx would check them too, against the ETag of the answer: a PUT
  -- whose If-Match was right, and which made a new version, would end as a 412.
  for _, name in ipairs(CONDITIONS) do
    ngx.req.clear_header(name)
  end

  return headers
end


--- Returns the URL with the scheme, host and port that the client uses for this gateway.
-- kong.request.get_forwarded_port() is the port where Kong listens, which is wrong behind a port mapping and
-- behind a load balancer that ends TLS. The Host header has the client's port.
local function get_origin(scheme)
  local get_header = kong.request.get_header
  local trusted = kong.ip.is_trusted(kong.client.get_ip())
  local host = kong.request.get_forwarded_host()
  local host_header = trusted and get_header("x-forwarded-host") or get_header("host") or ""
  local port = trusted and get_header("x-forwarded-port") or host_header:match(":(%d+)$")

  if not host or not ngx.re.find(host, HOST, "jo") then
    host, port = ngx.var.server_addr, ngx.var.server_port
    host = host:find(":", 1, true) and "[" .. host .. "]" or host
  end

  port = tonumber(port and port:match("^%d+$"))
  if not port or port < 1 or port > 65535 or port == DEFAULT_PORTS[scheme] then
    return scheme .. "://" .. host
  end

  return scheme .. "://" .. host .. ":" .. port
end


--- Returns the consumer that an authentication plugin of Kong found on this route, with its ACL groups; nil
-- without one.
local function get_caller()
  local consumer = kong.client.get_consumer()
  if not consumer or not consumer.id then
    return
  end

  local groups, err = internals.acl_groups(consumer.id)
  if err then
    error("the groups of the consumer could not be read: " .. err)
  end

  return {
    name = consumer.username or consumer.id,
    groups = envelope.array(groups),
    -- authentication plugins set this header for their `anonymous`, and remove it from a client's request
    anonymous = kong.request.get_header("x-anonymous-consumer") ~= nil,
  }
end


local function begin(arg)
  local max_size, references = arg.max_body_size, envelope.given(arg.secrets) or {}
  envelope.expect(type(max_size) == "number" and max_size >= 1 and type(references) == "table",
                  "`max_body_size` must be a number of bytes and `secrets` a list")

  local https = body.over_https()
  local prefix, path = paths.split()
  local size = 0
  if https or arg.require_https == false then
    size = body.size(max_size)
  end
  local is_small = size and size > 0 and size <= body.SMALL

  return {
    bridge_version = envelope.VERSION,
    host = node.host(),
    guarded = node.is_guarded(),
    request = {
      method = kong.request.get_method(),
      path = internals.escape_path(path),
      query = internals.escape_path(kong.request.get_raw_query()),
      headers = get_headers(),
      body = is_small and ngx.encode_base64(body.read(0, size)) or "",
      body_size = size or 0,
      body_too_large = not size,
      https = https,
      base_url = get_origin(https and "https" or "http") .. internals.escape_path(prefix),
      client_ip = kong.client.get_forwarded_ip(),
      request_id = internals.request_id(),
    },
    secrets = node.secrets(references),
    caller = arg.caller == true and get_caller() or nil,
  }
end


return begin
