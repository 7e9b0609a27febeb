-- Keeps on a data plane who lost access, from the moment that its control plane says so until its
-- configuration does. The guard reads these notes in memory that all workers share (revocations.lua has those
-- of consumers, and subjects.lua those of subjects). They are in LMDB too, so that a data plane which starts
-- from its cache refuses whom it refused before.
--
-- Whoever got access back is refused until the configuration has that too: an older one may still have the
-- credentials that were deleted when the access was lost.

local caches = require "kong.plugins.scim-bridge.caches"
local envelope = require "kong.plugins.scim-bridge.envelope"
local hybrid = require "kong.plugins.scim-bridge.hybrid_internals"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local revocations = require "kong.plugins.scim-bridge.revocations"
local subjects = require "kong.plugins.scim-bridge.subjects"
local tags = require "kong.plugins.scim-bridge.tags"


local kong = kong


local ROW, SUBJECT_ROW = "scim-bridge|revoked|", "scim-bridge|subject|" -- the prefixes of the keys in LMDB
local LIFTED = "scim-bridge:lifted:" -- the prefix of the keys in memory with the tags of who got access back
local SOURCE, REVIEW = "scim-bridge", "review-access" -- the event that asks the first worker for a review
local LIFTED_KEPT = 3600 -- seconds
local LOCK = "scim-bridge:access-changes"
local HEARD, SUBJECTS_HEARD = "scim-bridge:access-heard", "scim-bridge:subjects-heard" -- for the first worker
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
-- @param values the text of each row by its key, or false for none
local function write_rows(values)
  local t, any = internals.lmdb_begin(OPERATIONS_HINT), false
  for key, value in pairs(values) do
    -- docs/kong.md#deleting-an-absent-key-fails
    if value or internals.lmdb_get(key) then
      t:set(key, value or nil)
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


local function set_row(rows, id, moment)
  rows[ROW .. id] = ("%.0f"):format(moment)
end


--- Adds the row of a consumer that is noted to have no access.
local function keep_row(rows, id)
  local moment = note_of(id)
  if moment > 0 then
    set_row(rows, id, moment)
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
  set_row(rows, id, moment)
  shared:rpush(HEARD, id)
  if text then
    shared:set(LIFTED .. id, text, LIFTED_KEPT)
  else
    shared:delete(LIFTED .. id)
  end
end


local function subject_key(each)
  return SUBJECT_ROW .. each.workspace .. "|" .. each.subject
end


--- Hears who lost access, and who got it back. The latter are let in by a review.
-- @param changes { moment = a number that grows, revoked = ids, lifted = a list of { id, tags }, subjects = a
-- list as subjects.put takes it }
function _M.hear(changes)
  local rows = {}
  subjects.put(changes.subjects)
  for _, each in ipairs(changes.subjects) do
    local text = envelope.encode(each)
    rows[subject_key(each)] = text
    internals.shared():rpush(SUBJECTS_HEARD, text)
  end
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
local noted_subjects = {} -- by the key of the row


local function forget(id, rows)
  noted[id], rows[ROW .. id] = nil, false
end


--- Forgets the subjects that the configuration has as they were heard.
local function review_subjects(rows)
  local shared = internals.shared()
  local text = shared:lpop(SUBJECTS_HEARD)
  while text do
    local each = envelope.decode(text)
    local key = subject_key(each)
    if not noted_subjects[key] or noted_subjects[key].changed_at <= each.changed_at then
      noted_subjects[key], rows[key] = each, text
    end
    text = shared:lpop(SUBJECTS_HEARD)
  end

  for key, each in pairs(noted_subjects) do
    if subjects.is_stored(each) then
      noted_subjects[key], rows[key] = nil, false
    end
    internals.yield(true, ngx.get_phase())
  end
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
    keep_row(rows, id) -- a review at the same moment may have deleted it
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

  review_subjects(rows)
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
    keep_row(rows, id)
  end
  for key, each in pairs(noted_subjects) do
    rows[key] = envelope.encode(each)
  end
  write_rows(rows)
  review_soon()
end


--- Calls a function with the key and the value of each row whose key has a prefix.
local function each_row(prefix, fn)
  local start, more = prefix, true
  while more do
    local rows, found = internals.lmdb_page(start, prefix, nil, PAGE)
    if not rows then
      kong.log.err("who lost access before the start could not be read: ", found)
      return
    end

    for _, row in ipairs(rows) do
      fn(row.key, row.value)
      start = row.key .. "\0"
    end
    more = found == true and rows[1] ~= nil
  end
end


--- Reads the notes from before the start.
local function load()
  local shared = internals.shared()
  each_row(ROW, function(key, value)
    local id = key:sub(#ROW + 1)
    if tonumber(value) and shared:safe_add(revocations.PREFIX .. id, tonumber(value)) then
      shared:rpush(HEARD, id)
    end
  end)
  each_row(SUBJECT_ROW, function(_, value)
    subjects.put({ envelope.decode(value) })
    if ngx.worker.id() == 0 then
      shared:rpush(SUBJECTS_HEARD, value)
    end
  end)
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
