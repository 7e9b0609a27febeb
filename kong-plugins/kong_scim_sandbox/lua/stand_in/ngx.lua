-- `ngx` as far as scim-bridge uses it. What is of the whole process (the time, the shared dictionary) is
-- asked of Python (`host`); what is of one request is `request`, which start.lua replaces for each.

local host = ...


local current = {}


local shared = {}
for _, name in ipairs({ "get", "set", "safe_set", "safe_add", "incr", "delete" }) do
  shared[name] = function(_, ...)
    return host["shared_" .. name](...)
  end
end


local timers = {}


ngx = {
  null = newproxy(false),
  ctx = {},
  var = setmetatable({}, { __index = function(_, name)
    return (current.vars or {})[name]
  end }),
  status = 0,
  config = { subsystem = "http" },
  shared = { kong = shared },
  now = host.now,
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
    count = function() -- all threads share one memory, as the requests of one worker do
      return 1
    end,
    exiting = function()
      return false
    end,
  },
}


ngx.timer = {
  --- What is due at once is done when the call that asked for it is over.
  at = function(delay, fn, ...)
    timers[#timers + 1] = { delay = delay, fn = fn, arguments = { n = select("#", ...), ... } }
    return true
  end,
  every = function(delay, fn)
    timers[#timers + 1] = { delay = delay, fn = fn, every = true, arguments = { n = 0 } }
    return true
  end,
}


ngx.re = {
  --- The texts of a match by their numbers, from 0; nil where there is none; nil and an error.
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
  read_body = function() end, -- it is read before the plugin server hears of a request
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


local _M = { timers = timers }


--- Makes a request the one that everything is about.
function _M.enter(request)
  request.headers, request.cleared = request.headers or {}, {}
  current = request
  ngx.ctx = {}
  return request
end


function _M.request()
  return current
end


--- Runs the timers that are due, and those that these start.
-- @param longest the delay that has gone by, in seconds; those that come again and again are run once, if it
-- is more than 0
function _M.run_timers(longest)
  local again = {}
  while timers[1] do
    local timer = table.remove(timers, 1)
    if timer.every or timer.delay > longest then
      again[#again + 1] = timer
    end
    if timer.delay <= longest and (longest > 0 or not timer.every) then
      ngx.ctx = {}
      timer.fn(false, unpack(timer.arguments, 1, timer.arguments.n))
    end
  end

  for i, timer in ipairs(again) do
    timers[i] = timer
  end
end


return _M
