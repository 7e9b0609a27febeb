-- The table of subjects whose tokens are refused, in memory that all workers of the node share. The guard
-- looks here, and waits for nothing. It is filled from the entities scim_subjects: by all of them when the
-- node starts or gets a configuration (`load`), and from then on by each commit (`note`, `settle`) and by
-- those of other nodes (`put`). Of two values for a subject the one that was changed last holds, in whatever
-- order they come.


local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local live_config = require "kong.plugins.scim-bridge.live_config"
local postgres = require "kong.plugins.scim-bridge.postgres"


local kong = kong


local DAO = "scim_subjects"
local PREFIX = "scim-bridge:subject:"
local COMPLETE, FULL = "scim-bridge:subjects:complete", "scim-bridge:subjects:full"
local CHANNEL = "scim-bridge:subjects" -- of the cluster events by which other nodes learn of a commit
local PAGE = 1000
local RETRY = 1 -- seconds until what could not be read is read again


local _M = {
  FOREVER = 253402300799, -- `not_before` of those whose tokens are all refused
}


local function key_of(workspace, subject)
  return PREFIX .. workspace .. ":" .. subject
end


--- Returns when a value of the table was changed, and its not_before.
local function read(value)
  local changed_at, not_before = (value or ""):match("^(%d+) (%d+)$")
  return tonumber(changed_at) or -1, tonumber(not_before)
end


--- Sets subjects in the table.
-- @param is_newer whether only values that are newer than those of the table are set
local function set(list, is_newer)
  local shared, failure = internals.subjects_dictionary(), nil
  for _, each in ipairs(list) do
    local key = key_of(each.workspace, each.subject)
    if not is_newer or each.changed_at >= read(shared:get(key)) then
      local ok, err = shared:safe_set(key, ("%d %d"):format(each.changed_at, each.not_before))
      failure = failure or not ok and err
    end
  end

  if failure then
    -- whoever is not found in a full table may be missing, so the guard refuses all that it cannot find
    shared:set(FULL, true)
    kong.log.err("the table of subjects is full (", failure, "): set nginx_http_lua_shared_dict = ",
                 "scim_subjects 64m in kong.conf, and restart")
  end
end


--- Puts subjects into the table, except where it has a newer value.
-- @param list a list of { workspace, subject, not_before, changed_at }
function _M.put(list)
  set(list, true)
end


local function item_of(row, workspace)
  return {
    workspace = row.ws_id or workspace,
    subject = row.subject,
    not_before = row.not_before,
    changed_at = row.changed_at,
  }
end


--- Returns all subjects that are stored, as `put` takes them.
function _M.snapshot()
  local list, dao = {}, kong.db.daos[DAO]
  for row, err in dao:each(PAGE, { workspace = ngx.null, show_ws_id = true }) do
    if err then
      error(err)
    end
    list[#list + 1] = item_of(row, kong.default_workspace)
    internals.yield(true, ngx.get_phase())
  end

  return list
end


--- Returns by when a subject's tokens must not have been issued; nil if all are accepted.
-- @return also whether the table may lack the subject
function _M.not_before(workspace, subject)
  local shared = internals.subjects_dictionary()
  local value = shared:get(key_of(workspace, subject))
  if value then
    local _, not_before = read(value)
    return not_before, false
  end

  return nil, shared:get(FULL) == true or shared:get(COMPLETE) == nil
end


--- Notes that the table has all subjects of the node.
function _M.complete()
  internals.subjects_dictionary():set(COMPLETE, true)
end


--- Tells whether Kong has all subjects of each tenant. A DB-less Kong that has just started has none until
-- the plugin server has applied them (epoch.lua).
local function is_applied()
  if internals.has_database() or kong.configuration.role == "data_plane" then
    return true
  end

  for _, row in ipairs(live_config.rows()) do
    local epoch = internals.lmdb_get("scim-bridge:" .. row.config.tenant)
    local names_people = type(row.config.subjects) == "table" and row.config.subjects[1]
    if names_people and (not epoch or epoch:find("applying ", 1, true) == 1) then
      return false
    end
  end

  return true
end


--- Loads all subjects that are stored. It removes none, because a configuration may come without them.
function _M.load()
  _M.put(_M.snapshot())
  if is_applied() then
    _M.complete()
  end
end


local function try_to_load(premature)
  if premature then
    return
  end

  local ok, err = pcall(_M.load)
  if not ok then
    kong.log.err("the subjects could not be loaded, and are tried again: ", err)
    assert(ngx.timer.at(RETRY, try_to_load))
  end
end


--- Returns the subjects among the events of a commit, as `put` takes them.
function _M.changed(events)
  local list = envelope.array({})
  for _, event in ipairs(events) do
    if event.dao.schema.name == DAO and event.operation ~= "delete" then
      list[#list + 1] = item_of(event.entity, internals.workspace())
    end
  end

  return list
end


--- Puts those of changed subjects into the table that a commit refuses. It is called right before COMMIT; if
-- that fails, `undo` must follow.
-- @param list the result of `changed`, as for the functions below
function _M.note(list)
  local stricter = {}
  for _, each in ipairs(list) do
    if each.not_before > (_M.not_before(each.workspace, each.subject) or 0) then
      stricter[#stricter + 1] = each
    end
  end
  _M.put(stricter)
end


--- Puts all changed subjects into the table, after COMMIT.
function _M.settle(list)
  _M.put(list)
  if not internals.has_database() and is_applied() then
    _M.complete()
  end
end


--- Returns the stored entity of a subject.
local function stored(each)
  return kong.db.daos[DAO]:select_by_subject(each.subject, { workspace = each.workspace })
end


--- Tells whether Kong has stored a change of a subject, or a later one.
function _M.is_stored(each)
  local row = stored(each)
  return row ~= nil and row.changed_at >= each.changed_at
end


local function put_back(premature, list)
  local shared = internals.subjects_dictionary()
  for _, each in ipairs(premature and {} or list) do
    local row, err = stored(each)
    if row then
      set({ item_of(row, each.workspace) }, false)
    elseif not err then
      shared:delete(key_of(each.workspace, each.subject))
    else
      assert(ngx.timer.at(RETRY, put_back, { each }))
    end
  end
end


--- Has the table say what is stored of subjects whose commit failed. Until then they are refused.
function _M.undo(list)
  if list[1] then
    assert(ngx.timer.at(0, put_back, list))
  end
end


--- Returns the statements of a transaction by which the other nodes put its subjects into their tables.
function _M.statements(connector, list)
  local texts = envelope.array({})
  for i, each in ipairs(list) do
    texts[i] = envelope.encode(each)
  end

  if not texts[1] then
    return {}
  end

  local literal = connector:escape_literal(envelope.encode(texts))
  return { postgres.invalidations(kong.node.get_id(), internals.cluster_event_ttl() + 1,
                                  connector:escape_literal(CHANNEL), literal) }
end


function _M.init_worker()
  if kong.configuration.role == "control_plane" then
    return
  end

  if internals.has_database() then
    internals.on_cluster_event(CHANNEL, function(text)
      _M.put({ envelope.decode(text) })
    end)
  end
  if ngx.worker.id() == 0 then
    internals.on_configuration_loaded(try_to_load)
    assert(ngx.timer.at(0, try_to_load))
  end
end


return _M
