-- Starts a runtime: loads the stand-ins for Kong's modules and the shipped scim-bridge, and returns the
-- functions that Python calls.

local host = ...


local function stand_in(name, ...)
  return assert(loadstring(host.stand_in(name), "=" .. name))(...)
end


local current = stand_in("ngx.lua", host)
local json = stand_in("json.lua")
local dao = stand_in("dao.lua", host, json)
local connector = stand_in("connector.lua", host, json)
local lmdb = stand_in("lmdb.lua", host, json)
local new_cache = stand_in("caches.lua", host, json)
local modules, on_call = stand_in("kong.lua", host, json, current, dao, connector, new_cache)

modules["resty.lmdb"] = lmdb.lmdb
modules["resty.lmdb.prefix"] = lmdb.prefix
modules["resty.lmdb.transaction"] = lmdb.transaction
modules["kong.db.declarative"] = lmdb.declarative
modules["kong.plugins.scim-bridge.postgres"] = stand_in("sqlite.lua", json)


package.path, package.cpath = "", "" -- loads no other Lua of this machine
for name, module in pairs(modules) do
  package.loaded[name] = module
end


--- Loads the shipped modules by their names.
table.insert(package.loaders, 2, function(name)
  local text = host.shipped(name)
  return text and assert(loadstring(text, "@" .. name)) or "\n\tno module of the plugin: " .. name
end)


local handler = require "kong.plugins.scim-bridge.handler"
local api = require "kong.plugins.scim-bridge.api"
local scim = require "kong.plugins.scim.handler"
local first_message = require "kong.plugins.scim-bridge.first_message"


--- Runs a function; returns true and its result; or false, and the exit that ended it or a text.
local function safely(fn, ...)
  local function on_error(err)
    if type(err) == "table" and err.exit then
      return err
    end
    return debug.traceback(type(err) == "table" and json.encode(err) or tostring(err), 2)
  end

  local arguments, n = { ... }, select("#", ...)
  local ok, result = xpcall(function()
    return fn(unpack(arguments, 1, n))
  end, on_error)
  return ok, result
end


local _M = {}


--- Calls the handler as Kong does when a worker starts.
function _M.init_worker()
  handler:init_worker()
end


--- Gives the worker the configurations of scim-bridge that it uses from now on.
function _M.configure(text)
  handler:configure(json.decode(text))
end


--- Calls a function of kong.scim.
function _M.call(name, text, request)
  current.enter(request)
  ngx.ctx.scim_configuration = request.instance -- there is another instance for each configuration
  ngx.ctx.scim_admin_request = request.admin_request and json.decode(request.admin_request) or nil
  local answer = kong.scim[name](text)
  local admin_answer = ngx.ctx.scim_admin_answer
  current.run_timers(0)
  return answer, admin_answer and json.encode(admin_answer) or nil
end


--- Runs a call of the other side of the channel; its argument and result are JSON.
function _M.on_call(method, peer, argument)
  current.enter({})
  local result = on_call(method, peer, argument)
  current.run_timers(0)
  return result
end


--- Returns the name of the event by which the plugin server is called for a request.
function _M.first_message(request)
  current.enter(request)
  return first_message.name(request.instance)
end


--- Returns the session plugin's object with what the guard uses of it, or nil.
local function session_of(request)
  local session = request.session
  return session and {
    meta = { creation_time = session.began },
    get_data = function()
      return { session.consumer, session.credential }
    end,
    destroy = function()
      request.ended = true
      return true
    end,
  } or nil
end


--- Puts the clock forward, and runs the timers that are due; returns the seconds until the next one is.
function _M.run_timers(seconds)
  current.enter({})
  return current.run_timers(seconds)
end


--- Calls the handlers of an event that another worker sent.
function _M.event(source, event)
  kong.worker_events.post(source, event, {})
end


--- Runs the access phase of scim-bridge. Returns as JSON: `exit`, the answer if the request ended; `scim`,
-- the addition to the log; `ended`, whether the session ended; `authenticated` and `consumer`, if the phase
-- authenticated one.
function _M.access(config, request)
  current.enter(request)
  local conf = json.decode(config)
  request.serialized = {}
  kong.ctx.shared = request.shared or {}
  kong.ctx.shared.authenticated_session = session_of(request)
  kong.ctx.shared.authenticated_jwt_token = request.token
  ngx.ctx.scim_identity_hidden = request.identity_hidden

  local ok, result = safely(handler.access, handler, conf)
  if not ok and type(result) ~= "table" then
    error(result, 0)
  end

  return json.encode({
    exit = not ok and result.exit or nil,
    scim = request.serialized.scim,
    ended = request.ended,
    authenticated = request.authenticated,
    consumer = request.authenticated and request.consumer or nil,
  })
end


--- Runs the rewrite phase of scim-bridge; returns the names of the headers that it removes.
function _M.rewrite(config, request)
  current.enter(request)
  handler:rewrite(json.decode(config))
  return json.encode(setmetatable(request.cleared, json.array_mt))
end


--- Runs the log phase of the plugin `scim`.
function _M.log(config, request)
  current.enter(request)
  scim:log(json.decode(config))
end


--- Calls a route of api.lua; returns its status and body as JSON.
function _M.admin(route, method, params, request)
  current.enter(request)
  local endpoint, self = api[route], { params = json.decode(params) }
  local _, result = safely(function()
    endpoint.before(self)
    endpoint[method](self)
  end)

  return type(result) == "table" and json.encode(result.exit) or error(result, 0)
end


return _M
