-- Writes ready-made rows of whole users into a DB-less Kong's memory: a consumer with its groups and
-- credentials. Kong's DAOs checked them when they were made, so their schemas are not run again. Only what
-- may have changed since is checked: whether somebody else has an id or a name.

local caches = require "kong.plugins.scim-bridge.caches"
local drafts = require "kong.plugins.scim-bridge.draft"
local envelope = require "kong.plugins.scim-bridge.envelope"
local epochs = require "kong.plugins.scim-bridge.epoch"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local logins = require "kong.plugins.scim-bridge.logins"
local memberships = require "kong.plugins.scim-bridge.memberships"
local owned_entities = require "kong.plugins.scim-bridge.owned_entities"
local targets = require "kong.plugins.scim-bridge.targets"


local kong = kong
local given = envelope.given


local OPERATIONS_OF_ROW = 8 -- a hint: how many keys of LMDB a row has


local _M = {}


--- Tells whether another entity in Kong, or an earlier row of this call, has a unique value.
local function is_taken(dao, field, value, id, claimed)
  local other = claimed[dao.schema.name .. ":" .. field .. ":" .. value]
  if other then
    return other ~= id
  end

  local found, err = dao.strategy:select_by_field(field, value)
  if err then
    envelope.raise("DATABASE", "LMDB does not answer: " .. tostring(err))
  end

  return found ~= nil and found.id ~= id
end


--- Tells whether a row can be written.
-- @param similar names by field which look the same as those of the row, and which nobody else may have
local function is_free(dao, row, similar, claimed)
  -- the id of a membership is made of its consumer's, which is looked at first
  if not targets[dao.schema.name] and dao.strategy:select({ id = row.id }) then
    return false
  end

  for name, field in dao.schema:each_field() do
    if field.unique and given(row[name]) and is_taken(dao, name, row[name], row.id, claimed) then
      return false
    end
  end

  for name, value in pairs(similar or {}) do
    if is_taken(dao, name, value, row.id, claimed) then
      return false
    end
  end

  return true
end


local function new_row(dao, entity)
  return drafts.to_row(dao.schema:process_auto_fields(entity, "insert"))
end


--- Appends the row of an entity. For a membership of a group whose entity nobody has made yet, the row of
-- that entity comes first.
-- @param made the ids of the groups that this call makes, by DAO and name
local function add_rows(rows, name, membership, made)
  local target, dao = targets[name], kong.db.daos[name]
  if not (target and target.groups) then
    rows[#rows + 1] = { dao, new_row(dao, membership) }
    return
  end

  local groups, known = kong.db.daos[target.groups], name .. ":" .. membership.group
  if not made[known] then
    local group, err = groups["select_by_" .. target.name](groups, membership.group)
    if err then
      envelope.raise("DATABASE", "LMDB does not answer: " .. tostring(err))
    elseif not group then
      group = memberships.new_group(name, membership.group, membership.tags)
      rows[#rows + 1] = { groups, new_row(groups, group) }
    end
    made[known] = group.id
  end

  rows[#rows + 1] = { dao, new_row(dao, memberships.row(name, membership.consumer.id, made[known])) }
end


--- Returns the rows of one user as a list of { dao, row }, or nil if one of them cannot be written.
-- @param entities a list of { name of the DAO, entity, similar names or null }
local function rows_of(entities, claimed, made)
  local rows, groups = {}, setmetatable({}, { __index = made })
  for _, each in ipairs(entities) do
    if not kong.db.daos[each[1]] then
      return nil
    end

    local before = #rows
    add_rows(rows, each[1], each[2], groups)
    for i = before + 1, #rows do
      local dao, row = rows[i][1], rows[i][2]
      if not row or not is_free(dao, row, i == #rows and given(each[3]) or nil, claimed) then
        return nil
      end
    end
  end

  for name, id in pairs(groups) do
    made[name] = id
  end
  return rows
end


local function claim(rows, claimed)
  for _, each in ipairs(rows) do
    local schema, row = each[1].schema, each[2]
    for name, field in schema:each_field() do
      if field.unique and given(row[name]) then
        claimed[schema.name .. ":" .. name .. ":" .. row[name]] = row.id
      end
    end
  end
end


--- Writes the rows of users in one LMDB transaction, without the users that have an id or a name of somebody
-- else.
-- @param arg.rows a list of JSON texts, one for each user
-- @param arg.epoch see epoch.lua
-- @return the indices (from 0) of the users that were not written
function _M.write(arg)
  local epoch, phase = arg.epoch, ngx.get_phase()
  epochs.expect(epoch)

  local t = epochs.begin(epoch, #arg.rows * OPERATIONS_OF_ROW)
  local refused, changes, claimed, made = envelope.array({}), {}, {}, {}
  for i, text in ipairs(arg.rows) do
    local rows = rows_of(envelope.decode(text), claimed, made)
    if not rows then
      table.insert(refused, i - 1)
    end

    claim(rows or {}, claimed)
    for _, each in ipairs(rows or {}) do
      local name, row = each[1].schema.name, each[2]
      internals.yield(true, phase)
      assert(internals.insert_entity(t, name, row))
      owned_entities.set_owned(t, name, memberships.key_of(each[1].schema, row), true)
      if name == "consumers" then
        table.insert(changes, { after = row })
      end
    end
  end

  logins.note(t, changes)
  epochs.commit(t, epoch)
  caches.purge()
  return { results = envelope.array({}), refused = refused }
end


return _M
