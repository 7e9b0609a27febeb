-- Stands for `kong` and Kong's modules, as far as scim-bridge uses them. `host` has functions of Python,
-- which return texts and numbers.

local host, json, current, dao, connector, new_cache = ...


local node = json.decode(host.node())


-- -- Events within the node -------------------------------------------------

local handlers = {}


local function handlers_of(source, event)
  local key = source .. " " .. event
  handlers[key] = handlers[key] or {}
  return handlers[key]
end


local worker_events = {}


function worker_events.register(handler, source, event)
  table.insert(handlers_of(source, event), handler)
end


--- Calls the handlers of this worker. Only the first worker has a handler of the event that requests a tick.
function worker_events.post(source, event, data)
  local registered = handlers_of(source, event)
  for _, handler in ipairs(registered) do
    handler(data)
  end
  if source == "scim-bridge" and not registered[1] then
    host.send_event(source, event)
  elseif source == "clustering" then
    host.send_configuration()
  end

  return true
end


worker_events.post_local = worker_events.post


-- -- The database -----------------------------------------------------------

local db = { strategy = node.dbless and "off" or "postgres", errors = dao.errors, connector = connector }
db.daos = dao.daos(db)
for name, each in pairs(db.daos) do
  db[name] = each
end


--- The DAO of what the declarative file has besides consumers; the sandbox keeps it in no database.
local function declared(name)
  return {
    each = function()
      local rows, i = json.decode(host.declared(name)), 0
      return function()
        i = i + 1
        return rows[i]
      end
    end,
    page = function(_, size, offset)
      local rows, first, found = json.decode(host.declared(name)), tonumber(offset or 0), {}
      for i = 1, math.min(size, #rows - first) do
        found[i] = rows[first + i]
      end
      return found, nil, nil, first + size < #rows and tostring(first + size) or nil
    end,
  }
end


for _, name in ipairs({ "plugins", "routes", "services" }) do
  db[name] = declared(name)
end
db.plugins.get_handlers = function() -- the plugins that this sandbox has, as far as scim-bridge reads them
  return {
    { name = "scim-bridge", handler = require "kong.plugins.scim-bridge.handler" },
    { name = "acl", handler = { PRIORITY = node.acl_priority } },
    { name = "scim", handler = require "kong.plugins.scim.handler" },
  }
end


-- -- The rest of the PDK ----------------------------------------------------

local function of_request(name)
  return function()
    return current.request()[name]
  end
end


local function header(name)
  local value = (current.request().headers or {})[name:lower()]
  return type(value) == "table" and value[1] or value
end


local function logger(level)
  return function(...)
    local parts = {}
    for i = 1, select("#", ...) do
      parts[i] = type(select(i, ...)) == "table" and json.encode((select(i, ...)))
                 or tostring((select(i, ...)))
    end
    host.log(level, table.concat(parts))
  end
end


kong = {
  version = node.version,
  default_workspace = node.workspace,
  configuration = {
    database = node.database,
    role = node.role,
    pg_timeout = node.pg_timeout,
    db_update_frequency = 5,
    nginx_http_client_body_buffer_size = "8k", -- kong/templates/kong_defaults.lua
    nginx_http_client_max_body_size = "0",
    loaded_plugins = { prometheus = true },
    konnect_mode = node.konnect_mode,
  },
  db = db,
  cache = new_cache("cache"),
  core_cache = new_cache("core_cache"),
  worker_events = worker_events,
  cluster_events = {
    strategy = { event_ttl = 3600 },
    subscribe = function() end, -- there are no other nodes
  },
  node = {
    get_id = of_request("node_id"),
  },
  vault = {
    is_reference = host.is_reference,
    get = host.secret,
  },
  ip = {
    is_trusted = function(address)
      return node.trusted[address] == true
    end,
  },
  request = {
    get_method = of_request("method"),
    get_path = of_request("path"),
    get_raw_path = of_request("raw_path"),
    get_raw_query = of_request("raw_query"),
    get_forwarded_scheme = of_request("scheme"),
    get_forwarded_host = of_request("host"),
    get_headers = of_request("headers"),
    get_header = header,
  },
  router = { get_route = of_request("route"), get_service = of_request("service") },
  client = {
    get_ip = of_request("client_ip"),
    get_forwarded_ip = of_request("client_ip"),
    get_consumer = of_request("consumer"),
    get_credential = of_request("credential"),
    load_consumer = function(id)
      return db.consumers:select({ id = id })
    end,
    authenticate = function(consumer, credential)
      local request = current.request()
      request.consumer, request.credential = consumer, credential
      request.authenticated = true
    end,
  },
  ctx = { shared = {} },
  log = {
    set_serialize_value = function(name, value)
      current.request().serialized[name] = value
    end,
  },
  response = {
    get_status = of_request("status"),
    --- Ends the request: no code after the call runs.
    exit = function(status, body)
      error({ exit = { status = status, body = body } })
    end,
  },
}


for _, level in ipairs({ "debug", "info", "notice", "warn", "err" }) do
  kong.log[level] = logger(level)
end


-- -- The channel between a control plane and data planes ----------------------

local methods = {} -- that the other side may call


kong.rpc = node.has_channel and {
  callbacks = {
    register = function(_, method, fn)
      methods[method] = fn
    end,
  },
  get_peers = function()
    return json.decode(host.peers())
  end,
  call = function(_, peer, method, argument)
    local answer = json.decode(host.call_peer(peer, method, json.encode(argument)))
    return answer.ok, answer.error
  end,
} or nil


--- Runs a call of the other side.
local function on_call(method, peer, argument)
  local ok, err = methods[method](peer, json.decode(argument))
  return json.encode({ ok = ok, error = err })
end


-- -- Modules of Kong --------------------------------------------------------

local function deep_copy(value)
  if type(value) ~= "table" then
    return value
  end

  local copy = {}
  for name, each in pairs(value) do
    copy[name] = deep_copy(each)
  end
  return setmetatable(copy, getmetatable(value))
end


local function deepcompare(one, other)
  if type(one) ~= "table" or type(other) ~= "table" then
    return one == other
  end

  for name, value in pairs(one) do
    if not deepcompare(value, other[name]) then
      return false
    end
  end
  for name in pairs(other) do
    if one[name] == nil then
      return false
    end
  end
  return true
end


local function shallow_copy(value)
  local copy = {}
  for name, each in pairs(value) do
    copy[name] = each
  end
  return copy
end


local function metric(kind)
  return function(_, name, help, labels, buckets)
    host.metric(kind, name, help, json.encode(labels), json.encode(buckets or {}))
    local made = {}
    for _, verb in ipairs({ "inc", "set", "observe" }) do
      made[verb] = function(_, value, label_values)
        local texts = {}
        for i, each in ipairs(label_values) do
          texts[i] = tostring(each)
        end
        host.measure(name, verb, value, json.encode(setmetatable(texts, json.array_mt)))
      end
    end
    function made.reset()
      host.measure(name, "reset", 0, "[]")
    end
    return made
  end
end


local modules = {
  ["cjson"] = json,
  ["cjson.safe"] = json.safe,
  ["kong.constants"] = {
    CJSON_MAX_PRECISION = 16,
    DECLARATIVE_HASH_KEY = "declarative_config:hash",
    DECLARATIVE_DEFAULT_WORKSPACE_KEY = "declarative_config:default_workspace",
    ENTITY_CACHE_STORE = setmetatable({}, { __index = function()
      return "cache"
    end }),
  },
  ["kong.tools.uuid"] = {
    uuid = host.uuid,
    is_valid_uuid = function(value)
      return type(value) == "string" and host.is_uuid(value)
    end,
  },
  ["kong.tools.yield"] = { yield = function() end },
  ["kong.tools.uri"] = { escape = host.escape },
  ["kong.tools.sha256"] = { sha256_hex = host.sha256_hex },
  ["kong.tools.table"] = { cycle_aware_deep_copy = deep_copy },
  ["kong.observability.tracing.request_id"] = { get = of_request("request_id") },
  ["kong.plugins.acl.groups"] = {
    get_consumer_groups = function(id)
      local groups = {}
      for acl, err in db.acls:each_for_consumer({ id = id }) do
        if err then
          return nil, err
        end
        groups[#groups + 1] = acl.group
      end
      return groups
    end,
  },
  ["kong.plugins.prometheus.exporter"] = {
    get_prometheus = function()
      return { counter = metric("counter"), gauge = metric("gauge"), histogram = metric("histogram") }
    end,
  },
  ["kong.runloop.plugin_servers"] = {
    load_plugin = function()
      return true, { server_def = { socket = "plugin.sock" }, rpc = {
        --- Calls the plugin, which may take and answer a request of an administrator.
        handle_event = function(_, conf, method)
          local request = ngx.ctx.scim_admin_request
          local text = request and json.encode(request) or nil
          local answer = host.handle_event(json.encode(conf), method, text)
          ngx.ctx.scim_admin_answer = answer and json.decode(answer) or nil
        end,
      } }
    end,
  },
  ["ngx.semaphore"] = { new = current.new_semaphore },
  ["ngx.base64"] = { decode_base64url = host.decode_base64url },
  ["pl.tablex"] = { deepcompare = deepcompare },
  ["table.clone"] = shallow_copy,
  ["table.nkeys"] = function(value)
    local count = 0
    for _ in pairs(value) do
      count = count + 1
    end
    return count
  end,
}


return modules, on_call
