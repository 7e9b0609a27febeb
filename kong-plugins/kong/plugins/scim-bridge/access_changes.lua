-- Keeps on a data plane who lost access, from the moment that its control plane says so until its
-- configuration does. The guard reads these notes (revocations.lua) in memory that all workers share. They
-- are in LMDB too, so that a data plane which starts from its cache refuses whom it refused before.
--
-- Whoever got access back is refused until the configuration has that too: an older one may still have the
-- credentials that were deleted when the access was lost.

local caches = require "kong.plugins.scim-bridge.caches"
local envelope = require "kong.plugins.scim-bridge.envelope"
local hybrid = require "kong.plugins.scim-bridge.hybrid_internals"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local revocations = require "kong.plugins.scim-bridge.revocations"
local tags = require "kong.plugins.scim-bridge.tags"


local kong = kong


local ROW = "scim-bridge|revoked|" -- the prefix of the keys in LMDB
local LIFTED = "scim-bridge:lifted:" -- the prefix of the keys in memory with the tags of who got access back
local SOURCE, REVIEW = "scim-bridge", "review-access" -- the event that asks the first worker for a review
local LIFTED_KEPT = 3600 -- seconds
local LOCK = "scim-bridge:access-changes"
local HEARD = "scim-bridge:access-heard" -- a list of ids for the first worker
local INTERVAL = 1 -- seconds between two reviews
-- seconds that a note is kept after the configuration agrees: a worker may still have the old one in its
-- cache, and another control plane may send an older configuration once
local AGREED = 60
local REMEMBERED = 60 -- seconds that it is remembered that somebody has access: an older message may come
local EVENTS = 0.1 -- seconds in which the events of all changes of one commit are sent
local ASKED = 2 -- seconds after which the control plane is asked, if the configuration does not agree
local PAGE = 500
local OPERATIONS_HINT = 64


local _M = {}


local function note_of(id)
  local value = internals.shared():get(revocations.PREFIX .. id)
  return type(value) == "number" and value or 0
end


--- Returns what the configuration says of a consumer: its tags as tags.text(), or "gone"; and whether it has
-- access. Returns nil if that cannot be read.
local function configured(id)
  local consumer, err = kong.db.consumers:select({ id = id })
  if err then
    return nil
  elseif not consumer then
    return "gone", false
  end
  return tags.text(consumer), not tags.is_suspended(consumer)
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


--- Writes or deletes rows of LMDB.
-- @param values the moment of the revocation by id, or false for none
local function write_rows(values)
  local t, any = internals.lmdb_begin(OPERATIONS_HINT), false
  for id, value in pairs(values) do
    -- docs/kong.md#deleting-an-absent-key-fails
    if value or internals.lmdb_get(ROW .. id) then
      t:set(ROW .. id, value and ("%.0f"):format(value) or nil)
      any = true
    end
  end

  local ok, err = true, nil
  if any then
    ok, err = t:commit()
  end
  if not ok then
    kong.log.err("who lost access is not in LMDB, so a restart would forget it: ", err)
  end
end


local function set_note(id, value, ttl)
  local ok, err = internals.shared():safe_set(revocations.PREFIX .. id, value, ttl)
  if not ok then
    kong.log.err("a revocation holds only when the configuration has it: ", err)
  end
end


--- Notes that a consumer lost access, or got it back, unless something later was heard.
-- @param text the consumer's tags as tags.text() if it got access back; else nil
local function note(id, moment, text, rows)
  if math.abs(note_of(id)) >= moment then
    return
  end

  local shared = internals.shared()
  set_note(id, moment, 0)
  rows[id] = moment
  shared:rpush(HEARD, id)
  if text then
    shared:set(LIFTED .. id, text, LIFTED_KEPT)
  else
    shared:delete(LIFTED .. id)
  end
end


--- Hears who lost access, and who got it back. The latter are let in by a review.
-- @param changes { moment = a number that grows, revoked = ids, lifted = a list of { id, tags } }
function _M.hear(changes)
  local rows = {}
  exclusively(function()
    for _, id in ipairs(changes.revoked) do
      note(id, changes.moment, nil, rows)
    end
    for _, each in ipairs(changes.lifted) do
      note(each.id, changes.moment, each.tags, rows)
    end
  end)
  write_rows(rows)
  if changes.lifted[1] then
    internals.send_event(SOURCE, REVIEW, {})
  end
end


-- -- The first worker compares the notes with the configuration ---------------

local noted = {} -- when the control plane is asked next, by id


local function forget(id, rows)
  noted[id], rows[id] = nil, false
end


--- Tells whether the configuration has that a consumer got access back.
local function is_back(id)
  local lifted = internals.shared():get(LIFTED .. id)
  return lifted ~= nil and configured(id) == lifted
end


--- Ends the note of a consumer for which the configuration has what was heard.
-- @param may_end whether no worker has an older configuration in its caches
local function review_one(id, rows, may_end)
  local shared, key, value = internals.shared(), revocations.PREFIX .. id, note_of(id)
  local _, has_access = configured(id)
  if value <= 0 then
    forget(id, rows)
  elseif is_back(id) then
    if may_end[id] then
      set_note(id, -value, REMEMBERED)
      shared:delete(LIFTED .. id)
      forget(id, rows)
    end
    return true
  elseif has_access == false then -- and what the configuration has later is later than this note
    if shared:ttl(key) == 0 then
      shared:expire(key, AGREED)
    end
    return true
  elseif (shared:ttl(key) or 0) > 0 then
    shared:expire(key, 0)
  end
end


--- Reviews all notes.
-- @param ask see init_worker; nil to ask nobody
local function review(ask)
  local shared, open, rows = internals.shared(), envelope.array({}), {}
  local id = shared:lpop(HEARD)
  while id do
    noted[id] = noted[id] or ngx.now() + ASKED
    id = shared:lpop(HEARD)
  end

  local ids, may_end = {}, {}
  for each in pairs(noted) do
    ids[#ids + 1] = each
    may_end[each] = is_back(each) or nil
  end
  if next(may_end) then
    caches.await_workers()
  end
  for _, each in ipairs(ids) do
    local agrees
    exclusively(function()
      agrees = review_one(each, rows, may_end)
    end)
    if not agrees and ask and #open < PAGE and (noted[each] or math.huge) < ngx.now() then
      open[#open + 1] = each
      noted[each] = ngx.now() + ASKED
    end
    internals.yield(true, ngx.get_phase())
  end

  if next(rows) then
    write_rows(rows)
  end
  local answer = open[1] and ask(open)
  if answer then
    _M.hear(answer)
  end
end


local reviewing, again = false, false


--- Reviews all notes after an event, outside of its handler, which must not wait.
local function review_soon()
  again = true
  if reviewing then
    return
  end

  reviewing = true
  assert(ngx.timer.at(hybrid.takes_deltas() and EVENTS or 0, function()
    while again do
      again = false
      local ok, err = pcall(review)
      if not ok then
        kong.log.err("who lost access is not compared with the configuration: ", err)
      end
    end
    reviewing = false
  end))
end


--- Writes the notes into LMDB again, which a whole configuration replaces, and reviews them.
local function on_configuration()
  local rows = {}
  for id in pairs(noted) do
    local value = note_of(id)
    rows[id] = value > 0 and value or nil
  end
  write_rows(rows)
  review_soon()
end


--- Reads the notes from before the start.
local function load()
  local start, more = ROW, true
  while more do
    local rows, found = internals.lmdb_page(start, ROW, nil, PAGE)
    if not rows then
      kong.log.err("who lost access before the start could not be read: ", found)
      return
    end

    for _, row in ipairs(rows) do
      local id, value = row.key:sub(#ROW + 1), tonumber(row.value)
      if value and internals.shared():safe_add(revocations.PREFIX .. id, value) then
        internals.shared():rpush(HEARD, id)
      end
      start = row.key .. "\0"
    end
    more = found == true and rows[1] ~= nil
  end
end


--- @param ask returns what the control plane knows of some consumers, in the form that `hear` takes; or nil
function _M.init_worker(ask)
  load()
  if ngx.worker.id() ~= 0 then
    return
  end

  internals.on_configuration_loaded(on_configuration)
  internals.on_event(review_soon, SOURCE, REVIEW)
  if hybrid.takes_deltas() then
    internals.on_event(review_soon, "crud", "consumers")
  end
  assert(ngx.timer.every(INTERVAL, function(premature)
    if not premature then
      review(ask)
    end
  end))
end


return _M
