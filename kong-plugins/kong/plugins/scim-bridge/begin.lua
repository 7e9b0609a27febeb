-- kong.scim.begin: the whole request, as Kong judges it.

local envelope = require "kong.plugins.scim-bridge.envelope"
local request_id = require "kong.observability.tracing.request_id"
local uri = require "kong.tools.uri"


local kong          = kong
local char          = string.char
local byte          = string.byte
local find          = string.find
local gsub          = string.gsub
local lower         = string.lower
local match         = string.match
local sub           = string.sub
local null          = ngx.null
local re_match      = ngx.re.match
local encode_base64 = ngx.encode_base64
local fail          = envelope.fail


local DEFAULT_PORTS = { http = 80, https = 443 }
local HOST = [[^(?:[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9])?\.?|\[[0-9a-f:.]{2,45}\])$]]
local MAX_HEADERS = 1000 -- the most that kong.request.get_headers reads


local function latin1_to_utf8(c)
  local b = byte(c)
  return char(0xC0 + (b - b % 64) / 64, 0x80 + b % 64)
end


local function get_headers()
  local headers = {}
  for name, value in pairs(kong.request.get_headers(MAX_HEADERS)) do
    value = type(value) == "table" and value[1] or value
    value = type(value) == "string" and value or ""
    if not envelope.is_utf8(value) then
      value = gsub(value, "[\128-\255]", latin1_to_utf8)
    end

    headers[lower(name)] = value
  end

  return headers
end


local function matched_prefix(path, prefix)
  if byte(prefix) == 126 then -- "~": a regex
    local m = re_match(path, "^(?:" .. sub(prefix, 2) .. ")", "jou")
    return m and m[0]
  end

  return find(path, prefix, 1, true) == 1 and prefix
end


--- The part of the path that led to the route, and the rest.
-- Kong's own answer (X-Forwarded-Prefix) is empty without strip_path and may be the client's.
local function split_path()
  local route = kong.router.get_route()
  local path = kong.request.get_path() -- what the router matches
  local prefix = ""

  for _, candidate in ipairs(type(route and route.paths) == "table" and route.paths or {}) do
    local matched = matched_prefix(path, candidate)
    if matched and #matched > #prefix then
      prefix = matched
    end
  end

  if prefix == "" and route and route.expression then
    prefix = matched_prefix(path, ngx.var.upstream_x_forwarded_prefix or "") or ""
  end

  local raw = kong.request.get_raw_path()
  if find(raw, prefix, 1, true) == 1 then
    path = raw
  end

  prefix = gsub(prefix, "/+$", "")
  path = sub(path, #prefix + 1)
  return uri.escape(prefix), uri.escape(byte(path) == 47 and path or "/" .. path)
end


local function get_scheme()
  return find(kong.request.get_forwarded_scheme(), "^https%f[%A]") and "https" or "http"
end


--- Scheme, host and port under which the client knows this gateway.
-- kong.request.get_forwarded_port() is the port Kong listens on, which is wrong behind a port
-- mapping and behind a load balancer that ends TLS: the Host header's port is the client's.
local function get_origin(scheme)
  local host = kong.request.get_forwarded_host()
  local port

  local forwarded_host = kong.request.get_header("x-forwarded-host")
  if not kong.ip.is_trusted(kong.client.get_ip()) then
    port = match(kong.request.get_header("host") or "", ":(%d+)$")
  else
    port = kong.request.get_header("x-forwarded-port")
           or match(forwarded_host or kong.request.get_header("host") or "", ":(%d+)$")
  end

  if not host or #host > 253 or not re_match(host, HOST, "jo") then
    host, port = ngx.var.server_addr, ngx.var.server_port
    host = find(host, ":", 1, true) and "[" .. host .. "]" or host
  end

  port = tonumber(port)
  if not port or port < 1 or port > 65535 or port ~= port - port % 1 or port == DEFAULT_PORTS[scheme] then
    return scheme .. "://" .. host
  end

  return scheme .. "://" .. host .. ":" .. port
end


--- The body, and whether it is larger than allowed.
local function get_body(max_size)
  if (tonumber(kong.request.get_header("content-length")) or 0) > max_size then
    return "", true
  end

  -- with a limit, a body that Nginx buffered to a file is read too (kong/pdk/request.lua)
  local body, err = kong.request.get_raw_body(max_size)
  if body then
    return #body <= max_size and body or "", #body > max_size
  end

  if find(err, "file too big", 1, true) then
    return "", true
  end

  return nil, err
end


local function get_secrets(references)
  local secrets = {}
  for _, reference in ipairs(references) do
    local value = kong.vault.is_reference(reference) and kong.vault.get(reference)
    secrets[reference] = value or null
  end

  return secrets
end


local function begin(arg)
  local max_size = arg.max_body_size
  local secrets = envelope.given(arg.secrets) or {}
  if type(max_size) ~= "number" or max_size < 1 or type(secrets) ~= "table" then
    return fail("BAD_REQUEST", "`max_body_size` must be a number of bytes and `secrets` a list")
  end

  local scheme = get_scheme()
  local prefix, path = split_path()
  local body, too_large = "", false
  if scheme == "https" or arg.require_https == false then
    body, too_large = get_body(max_size)
    if not body then
      return fail("INTERNAL", "the body could not be read: " .. too_large)
    end
  end

  local database = kong.configuration.database
  return {
    bridge_version = envelope.VERSION,
    host = {
      dialect = database == "postgres" and "postgresql" or "sqlite",
      database = database,
      kong_version = kong.version,
      node_id = kong.node.get_id(),
      workspace = ngx.ctx.workspace or kong.default_workspace,
    },
    request = {
      method = kong.request.get_method(),
      path = path,
      query = uri.escape(kong.request.get_raw_query()),
      headers = get_headers(),
      body = encode_base64(body),
      body_too_large = too_large,
      https = scheme == "https",
      base_url = get_origin(scheme) .. prefix,
      client_ip = kong.client.get_forwarded_ip(),
      request_id = request_id.get(),
    },
    secrets = get_secrets(secrets),
  }
end


return begin
