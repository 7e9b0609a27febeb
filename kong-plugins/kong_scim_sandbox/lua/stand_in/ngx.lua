-- Stands for `ngx`, as far as scim-bridge uses it. What belongs to the process (the time, the shared
-- dictionary) comes from Python (`host`). What belongs to a request is in `current`, which start.lua sets.

local host = ...


local current = {}


local shared = {}
for _, name in ipairs({ "get", "set", "safe_set", "add", "safe_add", "incr", "delete", "ttl", "expire",
                        "rpush", "lpop" }) do
  shared[name] = function(_, ...)
    return host["shared_" .. name](...)
  end
end


local timers = {}
local ahead = 0 -- seconds that run_timers has put the clock forward


ngx = {
  null = newproxy(false),
  ctx = {},
  var = setmetatable({}, { __index = function(_, name)
    return (current.vars or {})[name]
  end }),
  status = 0,
  config = { subsystem = "http" },
  shared = { kong = shared },
  now = function()
    return host.now() + ahead
  end,
  time = function()
    return math.floor(host.now())
  end,
  sleep = host.sleep,
  update_time = function() end,
  get_phase = function()
    return "access"
  end,
  encode_base64 = host.encode_base64,
  decode_base64 = host.decode_base64,
  worker = {
    id = host.worker_id,
    count = function() -- all threads share their caches, as the requests of one worker do
      return 1
    end,
    exiting = function()
      return false
    end,
  },
}


ngx.timer = {
  at = function(delay, fn, ...)
    local due = ngx.now() + delay * host.pause_scale()
    timers[#timers + 1] = { due = due, fn = fn, arguments = { n = select("#", ...), ... } }
    return true
  end,
  every = function(delay, fn)
    delay = delay * host.interval_scale()
    timers[#timers + 1] = { due = ngx.now() + delay, every = delay, fn = fn, arguments = { n = 0 } }
    return true
  end,
}


ngx.re = {
  --- Returns a table with the whole match at 0; or nil without a match; or nil and an error.
  match = function(subject, pattern)
    local found, err = host.re_match(subject, pattern)
    return found and { [0] = found } or nil, err
  end,
  find = function(subject, pattern)
    local found, err = host.re_match(subject, pattern)
    return found and 1, found and #found, err
  end,
}


ngx.req = {
  get_headers = function()
    return current.headers or {}
  end,
  clear_header = function(name)
    current.headers[name:lower()] = nil
    current.cleared[#current.cleared + 1] = name:lower()
  end,
  read_body = function() end, -- the sandbox reads it before it calls the plugin server
  get_body_data = function()
    return host.body_data()
  end,
  get_body_file = function()
    return host.body_file()
  end,
}


ngx.socket = {
  connect = function()
    if not host.plugin_listens() then
      return nil, "connection refused"
    end
    return { setkeepalive = function()
      return true
    end }
  end,
}


local Semaphore = {}
Semaphore.__index = Semaphore


function Semaphore:post(count)
  self.count = self.count + count
end


local _M = {}


--- Makes a request the current one.
function _M.enter(request)
  request.headers, request.cleared = request.headers or {}, {}
  current = request
  ngx.ctx, ngx.status = {}, request.status or 0
end


function _M.request()
  return current
end


--- Runs the timers that are due, and those that these start; returns the seconds until the next one is due.
-- @param seconds by which the clock of ngx.now is put forward first
function _M.run_timers(seconds)
  ahead = ahead + seconds
  while timers[1] do
    table.sort(timers, function(a, b)
      return a.due < b.due
    end)
    local timer, now = timers[1], ngx.now()
    if timer.due > now then
      return timer.due - now
    end

    if timer.every then
      timer.due = now + timer.every
    else
      table.remove(timers, 1)
    end
    ngx.ctx = {}
    timer.fn(false, unpack(timer.arguments, 1, timer.arguments.n))
  end
end


--- Waits for a semaphore: runs the timers that are due, of which one may post it.
function Semaphore:wait()
  if self.count == 0 then
    _M.run_timers(0)
  end
  if self.count == 0 then
    return nil, "timeout"
  end

  self.count = self.count - 1
  return true
end


function _M.new_semaphore()
  return setmetatable({ count = 0 }, Semaphore)
end


return _M
