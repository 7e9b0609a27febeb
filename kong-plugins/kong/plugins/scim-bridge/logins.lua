-- Whom a login means that brings no consumer: ldap-auth and others tell Kong a name only, which is looked up
-- among the usernames and custom_ids of consumers. Directories ignore case, and so does the look-up.

local internals = require "kong.plugins.scim-bridge.kong_internals"
local postgres = require "kong.plugins.scim-bridge.postgres"


local kong = kong
local null = ngx.null


local FOUND = { ttl = 60, neg_ttl = 60 } -- seconds; a consumer that gets or loses a name drops it at once
local USERID = "x-authenticated-userid" -- of oauth2, which sets or clears it: on whose behalf a token is


local _M = {}


local function is_name(value)
  return type(value) == "string" and value ~= ""
end


--- What a directory compares of a name that ldap-auth put into a distinguished name as it was given, where
-- a person may spell it in many ways (RFC 4514 2.4, RFC 4518 2.6); nil for one that is spelled in bytes.
local function plain(name)
  if name:find('^%s*[#"]') then
    return nil
  end

  local parts, i = {}, 1
  while i <= #name do
    local c, hex = name:sub(i, i), name:match("^\\(%x%x)", i)
    if c == "," or c == "+" or c == ";" then
      break -- what follows is another part of the distinguished name
    elseif hex then
      parts[#parts + 1] = string.char(tonumber(hex, 16))
    else
      parts[#parts + 1] = c == "\\" and name:sub(i + 1, i + 1) or c
    end
    i = i + (hex and 3 or c == "\\" and 2 or 1)
  end

  return (table.concat(parts):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end


--- The names that a login gives, beside or instead of the id of a consumer.
-- @return a list, or nil where a name is spelled so that nobody can tell whose it is
function _M.names(consumer, credential, with_consumer)
  local names = {}
  local function add(value)
    if is_name(value) then
      names[#names + 1] = value
    end
  end

  if credential and credential.client_id then
    add(kong.request.get_header(USERID))
  end
  if with_consumer then
    return names
  end

  for _, of in ipairs({ consumer or {}, credential or {} }) do
    add(of.username)
    add(of.custom_id)
  end

  local id = credential and credential.id
  if is_name(id) and id:find(internals.LDAP_CREDENTIAL, 1, true) == 1 then
    local value = plain(names[#names] or "")
    if not value then
      return nil
    end
    add(value)
  else
    add(id) -- of a login by a token it may be the claim that says who it is
  end

  return names
end


local function key_of(name, workspace)
  return "scim-bridge:login:" .. workspace .. ":" .. name:lower()
end


--- The cache keys of what is known of a consumer's names.
-- @param workspace where it is, if not that of the request
function _M.keys(entity, workspace)
  local keys = {}
  workspace = workspace or entity.ws_id or internals.workspace()
  for _, name in ipairs({ entity.username or null, entity.custom_id or null }) do
    if is_name(name) then
      keys[#keys + 1] = key_of(name, workspace)
    end
  end

  return keys
end


-- Without a database only whole names can be looked up: SCIM's consumers have a row in LMDB for each of their
-- names in lower case, with the ids of all who have it.

local function row_of(name)
  return "scim-bridge|login|" .. internals.sha256_hex(name:lower()) -- a key of LMDB has 511 bytes at most
end


local function ids_of(name)
  local value, err = internals.lmdb_get(row_of(name))
  if err then
    return nil, err
  end

  local ids = {}
  for id in (value or ""):gmatch("[^,]+") do
    ids[id] = true
  end

  return ids
end


--- Notes in a transaction on LMDB which names consumers have.
-- @param changes a list of { before = entity or nil, after = entity or nil }
function _M.note(t, changes)
  local rows = {}
  local function set(entity, present)
    for _, name in ipairs({ entity.username or null, entity.custom_id or null }) do
      if is_name(name) then
        local row = row_of(name)
        rows[row] = rows[row] or assert(ids_of(name))
        rows[row][entity.id] = present
      end
    end
  end

  for _, side in ipairs({ "before", "after" }) do
    for _, change in ipairs(changes) do
      if change[side] then
        set(change[side], side == "after" or nil)
      end
    end
  end

  for row, ids in pairs(rows) do
    local list = {}
    for id in pairs(ids) do
      list[#list + 1] = id
    end
    if list[1] then
      t:set(row, table.concat(list, ","))
    elseif internals.lmdb_get(row) then
      t:set(row, nil) -- docs/kong.md#deleting-an-absent-key-fails
    end
  end
end


local function find_in_memory(name)
  local ids, err = ids_of(name)
  for _, field in ipairs({ "username", "custom_id" }) do
    local consumer
    if not err then
      consumer, err = kong.db.consumers["select_by_" .. field](kong.db.consumers, name)
    end
    if consumer then
      ids[consumer.id] = true
    end
  end

  return ids, err
end


local function find_in_database(name, workspace)
  local connector = internals.connector()
  local statement = postgres.named(connector:escape_literal(workspace), connector:escape_literal(name))
  local rows, err = connector:query(statement, "read")
  if not rows then
    return nil, err
  end

  local ids = {}
  for _, row in ipairs(rows) do
    ids[row.id] = true
  end

  return ids
end


local function find(name, workspace)
  local find_ids = internals.has_database() and find_in_database or find_in_memory
  local ids, err = find_ids(name, workspace)
  if err then
    return nil, err
  end

  local list = {}
  for id in pairs(ids) do
    list[#list + 1] = id
  end
  return list[1] and list or nil
end


--- The ids of the consumers that a name may mean.
function _M.find(name)
  local workspace = internals.workspace()
  local ids, err = kong.cache:get(key_of(name, workspace), FOUND, find, name, workspace)
  if err then
    return nil, err
  end

  ids = ids or {}
  if internals.is_valid_uuid(name) then
    ids = { name, unpack(ids) }
  end
  return ids
end


--- Drops what is known of a consumer's names when it is written at the Admin API; SCIM's own writes tell
-- caches.lua.
local function on_change(data)
  for _, entity in pairs({ data.entity, data.old_entity }) do
    for _, key in ipairs(_M.keys(entity, data.workspace)) do
      kong.cache:invalidate(key)
    end
  end
end


function _M.init_worker()
  if internals.has_database() then
    internals.on_event(on_change, "crud", "consumers")
  end
end


return _M
