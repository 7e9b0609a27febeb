-- Finds the consumers that a login without a consumer means. ldap-auth and others give Kong only a name,
-- which is looked up among the usernames and custom_ids of consumers. Directories ignore case, and so does
-- the look-up.

local hybrid = require "kong.plugins.scim-bridge.hybrid_internals"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local name_index = require "kong.plugins.scim-bridge.name_index"
local postgres = require "kong.plugins.scim-bridge.postgres"


local kong = kong
local null = ngx.null


local FOUND = { ttl = 60, neg_ttl = 60 } -- seconds; a write of a consumer's name drops it at once
local USERID = "x-authenticated-userid" -- the user on whose behalf a token is; oauth2 sets or clears it


local _M = {}


local function is_name(value)
  return type(value) == "string" and value ~= ""
end


--- Returns the part of a name that a directory compares; nil for a name in hexadecimal or in quotes.
-- ldap-auth puts the name into a distinguished name without escaping, so a person may write it in many ways
-- (RFC 4514 2.4, RFC 4518 2.6).
local function plain(name)
  if name:find('^%s*[#"]') then
    return nil
  end

  local parts, i = {}, 1
  while i <= #name do
    local c, hex = name:sub(i, i), name:match("^\\(%x%x)", i)
    if c == "," or c == "+" or c == ";" then
      break -- another part of the distinguished name begins
    elseif hex then
      parts[#parts + 1] = string.char(tonumber(hex, 16))
    else
      parts[#parts + 1] = c == "\\" and name:sub(i + 1, i + 1) or c
    end
    i = i + (hex and 3 or c == "\\" and 2 or 1)
  end

  return (table.concat(parts):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end


--- Returns the names that a login has besides or instead of the id of a consumer.
-- @return a list, or nil if a name is written so that it cannot be compared
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

  for _, entity in ipairs({ consumer or {}, credential or {} }) do
    add(entity.username)
    add(entity.custom_id)
  end

  local id = credential and credential.id
  if is_name(id) and id:find(internals.LDAP_CREDENTIAL, 1, true) == 1 then
    local value = plain(names[#names] or "")
    if not value then
      return nil
    end
    add(value)
  else
    add(id) -- for a login by a token, it may be the claim with the name of the user
  end

  return names
end


local function key_of(name, workspace)
  return "scim-bridge:login:" .. workspace .. ":" .. name:lower()
end


--- Returns the cache keys of the look-ups of a consumer's names.
-- @param workspace the workspace of the consumer, if it is not that of the request
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


local function is_data_plane()
  return hybrid.channel() ~= "here"
end


-- A DB-less Kong finds a consumer only by a name in its exact case. So each name of SCIM's consumers has a
-- row in LMDB, by the name in lower case, with the ids of all consumers that have it.

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


--- Writes these rows for changed consumers, in a transaction on LMDB.
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
  local ids, err = (is_data_plane() and name_index.find or ids_of)(name)
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


--- Returns the ids of the consumers that a name may mean.
function _M.find(name)
  local workspace = internals.workspace()
  local ids, err
  if is_data_plane() then -- an index in memory, which may be an old one for a moment
    ids, err = find(name, workspace)
  else
    ids, err = kong.cache:get(key_of(name, workspace), FOUND, find, name, workspace)
  end
  if err then
    return nil, err
  end

  ids = ids or {}
  if internals.is_valid_uuid(name) then
    ids = { name, unpack(ids) }
  end
  return ids
end


--- Drops the look-ups of a consumer's names from the cache when the Admin API writes it. For SCIM's writes
-- caches.lua does so.
local function on_change(data)
  if data.is_of_scim then
    return
  end

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
