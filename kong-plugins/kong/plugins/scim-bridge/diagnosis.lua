-- kong.scim.diagnose answers what `kong-scim doctor` asks about this node and the route of the request.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local node = require "kong.plugins.scim-bridge.node"
local postgres = require "kong.plugins.scim-bridge.postgres"


local kong  = kong
local array = envelope.array


local NAMES = require "kong.plugins.scim-bridge.migrations.init"
local UNITS = { k = 1024, m = 1048576, g = 1073741824 }


--- Returns the bytes of a size as Nginx writes it, such as "8k"; null without one.
local function bytes_of(text)
  local number, unit = tostring(text or ""):lower():match("^%s*(%d+)([kmg]?)%s*$")
  return number and number * (UNITS[unit] or 1) or ngx.null
end


local function set_of(list)
  local set = {}
  for _, each in ipairs(list) do
    set[each] = true
  end
  return set
end


--- Returns which migrations of scim-bridge the database lacks, which are not finished, and which this node
-- does not know; null on a Kong without a database.
local function migrations()
  if not internals.has_database() then
    return ngx.null
  end

  local rows, err = internals.connector():query(postgres.migrations(), "read")
  if not rows then
    return { error = tostring(err) }
  end

  local row = rows[1] or { executed = "[]", pending = "[]" }
  local executed, pending = envelope.decode(row.executed), envelope.decode(row.pending)
  local is_done, known = set_of(executed), set_of(NAMES)
  local is_pending, missing, unknown = set_of(pending), array({}), array({})
  for _, name in ipairs(NAMES) do
    if not is_done[name] and not is_pending[name] then
      table.insert(missing, name)
    end
  end
  for _, name in ipairs(executed) do
    if not known[name] then
      table.insert(unknown, name)
    end
  end

  return { missing = missing, pending = array(pending), unknown = unknown }
end


local function diagnose()
  local configuration = kong.configuration
  local route = kong.router.get_route() or {}
  local service = kong.router.get_service()
  local priorities = internals.priorities({ "scim-bridge", "acl", "scim" })
  local ok, found = pcall(migrations)

  return {
    now = ngx.now(),
    host = node.host(),
    written_for = internals.READ_FROM,
    versions = internals.versions({ "scim-bridge", "scim" }),
    guarded = node.is_guarded(),
    priorities = priorities,
    migrations = ok and found or { error = tostring(found) },
    route = route.name or route.id or ngx.null,
    service = service and (service.name or service.id or service.host) or ngx.null,
    limits = {
      client_body_buffer_size = bytes_of(configuration.nginx_http_client_body_buffer_size),
      client_max_body_size = bytes_of(configuration.nginx_http_client_max_body_size),
      pg_timeout = internals.has_database() and configuration.pg_timeout or ngx.null,
    },
  }
end


return diagnose
