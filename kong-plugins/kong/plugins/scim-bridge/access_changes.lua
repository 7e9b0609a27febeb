-- Keeps on a data plane who lost access, from the moment that its control plane says so until its
-- configuration does. The guard reads these notes (revocations.lua) in memory that all workers share. They
-- are in LMDB too, so that a data plane which starts from its cache refuses whom it refused before.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local revocations = require "kong.plugins.scim-bridge.revocations"
local tags = require "kong.plugins.scim-bridge.tags"


local kong = kong


local ROW = "scim-bridge|revoked|" -- the prefix of the keys in LMDB
local LOCK = "scim-bridge:access-changes"
local HEARD = "scim-bridge:access-heard" -- a list of ids for the first worker
local INTERVAL = 1 -- seconds between two reviews
-- seconds that a note is kept after the configuration agrees: a worker may still have the old one in its
-- cache, and another control plane may send an older configuration once
local AGREED = 60
local LIFTED = 60 -- seconds that it is remembered that somebody has access: an older message may come late
local ASKED = 10 -- seconds after which the control plane is asked, if the configuration does not agree
local PAGE = 500
local OPERATIONS_HINT = 64


local _M = {}


local function in_memory(id)
  return internals.shared():get(revocations.PREFIX .. id)
end


--- Runs a function while no other worker runs one. It takes microseconds, so a lock that is held is soon
-- free.
local function exclusively(fn, ...)
  local shared = internals.shared()
  while not shared:add(LOCK, true, 0.1) do
    ngx.sleep(0.001)
  end

  local ok, err = pcall(fn, ...)
  shared:delete(LOCK)
  return ok or error(err, 0)
end


local function write_rows(values)
  local t = internals.lmdb_begin(OPERATIONS_HINT)
  local any = false
  for id, value in pairs(values) do
    local row = ROW .. id
    -- docs/kong.md#deleting-an-absent-key-fails
    if value or internals.lmdb_get(row) then
      t:set(row, value and ("%.0f"):format(value) or nil)
      any = true
    end
  end

  local ok, err = true, nil
  if any then
    ok, err = t:commit()
  end
  if not ok then
    kong.log.err("who lost access is not in LMDB, so it would be forgotten at a restart: ", err)
  end
end


--- Notes in memory what a message says of some consumers, unless a later one was heard.
-- @param sign 1 if they lost access, -1 if they have it
-- @return what is to be noted in LMDB, by id
local function note(ids, moment, sign, rows)
  local shared = internals.shared()
  for _, id in ipairs(ids) do
    local known = in_memory(id)
    if not (type(known) == "number" and math.abs(known) >= moment) then
      local ok, err = shared:safe_set(revocations.PREFIX .. id, sign * moment, sign < 0 and LIFTED or 0)
      if not ok then
        kong.log.err("a revocation holds when the configuration has it, for lack of memory: ", err)
      end
      rows[id] = sign > 0 and moment
      if sign > 0 then
        shared:rpush(HEARD, id)
      end
    end
  end
end


--- Hears who lost access, and who has it.
-- @param changes { moment = a number that grows, revoked = ids, lifted = ids }
function _M.hear(changes)
  local rows = {}
  exclusively(function()
    note(changes.revoked, changes.moment, 1, rows)
    note(changes.lifted, changes.moment, -1, rows)
  end)
  write_rows(rows)
end


-- -- The first worker compares the notes with the configuration ---------------

local noted = {} -- the time since when, by id


--- Tells whether the configuration refuses a consumer too; nil if that cannot be read.
local function agrees(id)
  local consumer, err = kong.db.consumers:select({ id = id })
  if err then
    return nil
  end
  return consumer == nil or tags.is_suspended(consumer)
end


local function review(ask)
  local shared, open, gone = internals.shared(), envelope.array({}), {}
  local id = shared:lpop(HEARD)
  while id do
    noted[id] = noted[id] or ngx.now()
    id = shared:lpop(HEARD)
  end

  for each, since in pairs(noted) do
    local key, value = revocations.PREFIX .. each, in_memory(each)
    if not (type(value) == "number" and value > 0) then
      noted[each], gone[each] = nil, false
    elseif agrees(each) then
      if shared:ttl(key) == 0 then
        shared:expire(key, AGREED)
      end
    else
      if (shared:ttl(key) or 0) > 0 then
        shared:expire(key, 0)
      end
      if since < ngx.now() - ASKED and #open < PAGE then
        open[#open + 1] = each
        noted[each] = ngx.now() -- is asked again after the same time
      end
    end
    internals.yield(true, "timer")
  end

  if next(gone) then
    write_rows(gone)
  end
  local answer = open[1] and ask(open)
  if answer then
    _M.hear(answer)
  end
end


--- Writes the notes into LMDB again, which a whole configuration replaces.
local function keep()
  local rows = {}
  for id in pairs(noted) do
    local value = in_memory(id)
    rows[id] = type(value) == "number" and value > 0 and value or nil
  end
  write_rows(rows)
end


local function load()
  local start, more = ROW, true
  while more do
    local rows, err = internals.lmdb_page(start, ROW, nil, PAGE)
    if not rows then
      kong.log.err("who lost access before the start could not be read: ", err)
      return
    end

    for _, row in ipairs(rows) do
      local id, value = row.key:sub(#ROW + 1), tonumber(row.value)
      if value and internals.shared():safe_add(revocations.PREFIX .. id, value) then
        internals.shared():rpush(HEARD, id)
      end
      start = row.key .. "\0"
    end
    more = err and rows[1] ~= nil -- the second result is whether there are more
  end
end


--- @param ask returns what the control plane knows of some consumers, in the form that `hear` takes
function _M.init_worker(ask)
  load()
  if ngx.worker.id() == 0 then
    internals.on_configuration_loaded(keep)
    assert(ngx.timer.every(INTERVAL, function(premature)
      if not premature then
        review(ask)
      end
    end))
  end
end


return _M
