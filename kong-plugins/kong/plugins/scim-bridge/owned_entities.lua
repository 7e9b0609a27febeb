-- Tells the entities that SCIM wrote into a DB-less Kong's memory from those that the configuration declares.
-- Each entity of SCIM's has a row in LMDB, which is written with it, and which Kong deletes when it loads a
-- configuration. A tag would not do, because a configuration may declare any tag.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local tags = require "kong.plugins.scim-bridge.tags"


local kong = kong


local PAGE = 1000


local _M = {}


local function key_of(name, id)
  return "scim-bridge|own|" .. name .. "|" .. id
end


--- Tells whether SCIM may write an entity. With a database it may write all, because none is declared.
function _M.is_owned(name, id)
  if internals.has_database() then
    return true
  end

  local value, err = internals.lmdb_get(key_of(name, id))
  if err then
    envelope.raise("DATABASE", "LMDB does not answer: " .. err)
  end

  return value ~= nil
end


--- Returns SCIM's consumers with a tag, without those that the configuration declares.
function _M.tagged_consumers(tag)
  local found, phase = {}, ngx.get_phase()
  for consumer, err in kong.db.consumers:each(PAGE) do
    if err then
      envelope.raise("DATABASE", err)
    end
    if tags.has(consumer, tag) and _M.is_owned("consumers", consumer.id) then
      table.insert(found, consumer)
    end
    internals.yield(true, phase)
  end

  return found
end


--- Writes the row of an entity in a transaction on LMDB, or deletes it. Deleting a row that is not there
-- makes the transaction fail (docs/kong.md#deleting-an-absent-key-fails).
function _M.set_owned(t, name, id, present)
  t:set(key_of(name, id), present and "1" or nil)
end


return _M
