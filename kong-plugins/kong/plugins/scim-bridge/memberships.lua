-- Translates memberships. On the wire each has an id, a consumer, the name of its group, and tags. In Kong it
-- is a row with that name, or one that refers to the entity of the group (targets.lua). A row of the second
-- kind has no id of its own: on the wire it is "<id of the consumer>:<name of the group>".

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local targets = require "kong.plugins.scim-bridge.targets"


local kong  = kong
local array = envelope.array


local UUID_LENGTH = 36


local _M = {}


--- Tells whether Kong has what a target needs: its entities, with tags for those that SCIM makes.
local function is_present(dao, target)
  local groups = kong.db.daos[target.groups or dao]
  return kong.db.daos[dao] ~= nil and groups ~= nil and groups.schema.fields.tags ~= nil
end


--- Returns the targets that this Kong has, by their DAOs.
function _M.targets()
  local found = {}
  for dao, target in pairs(targets) do
    found[dao] = is_present(dao, target) and target or nil
  end

  return found
end


--- Returns the names of their DAOs as a list.
function _M.daos()
  local names = array({})
  for dao in pairs(_M.targets()) do
    table.insert(names, dao)
  end

  table.sort(names)
  return names
end


local function raise_unless(result, err)
  if err then
    envelope.raise("DATABASE", err)
  end

  return result
end


--- Returns the memberships of a consumer by DAO, each a list in the order of the groups.
function _M.of_consumer(id)
  local found = {}
  for name, target in pairs(_M.targets()) do
    local list = array({})
    for row, err in kong.db.daos[name]:each_for_consumer({ id = id }) do
      raise_unless(row, err)
      local group = row
      if target.groups then
        local group_err
        group, group_err = kong.db.daos[target.groups]:select(row[target.group])
        raise_unless(group, group_err)
      end

      if group then
        table.insert(list, {
          id = row.id or id .. ":" .. group[target.name],
          group = group[target.name],
          tags = array(row.tags or {}),
        })
      end
    end

    table.sort(list, function(a, b) return a.group < b.group end)
    found[name] = list
  end

  return found
end


--- Returns the consumer and the name of the group in an id on the wire.
function _M.parts_of(id)
  return id:sub(1, UUID_LENGTH), id:sub(UUID_LENGTH + 2)
end


--- Returns the row of a membership whose group is an entity.
-- @param dao the name of its DAO
function _M.row(dao, consumer, group)
  return { consumer = { id = consumer }, [targets[dao].group] = { id = group } }
end


--- Returns the text of a row's primary key, by which a change of several rows tells them apart.
function _M.key_of(schema, row)
  local parts = {}
  for i, name in ipairs(schema.primary_key) do
    local value = row[name]
    parts[i] = type(value) == "table" and value.id or value
  end

  return table.concat(parts, ":")
end


--- Returns the entity of a new group.
function _M.new_group(dao, name, tags)
  return { id = internals.uuid(), [targets[dao].name] = name, tags = envelope.given(tags) }
end


return _M
