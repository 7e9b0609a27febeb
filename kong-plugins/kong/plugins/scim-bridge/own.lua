-- Which entities of a DB-less Kong's memory SCIM wrote, told from those that the configuration declares:
-- for each there is a row in LMDB, written with it, and gone with it when Kong loads a configuration.
-- A tag would not do: a configuration may declare any tag.

local envelope = require "kong.plugins.scim-bridge.envelope"
local lmdb = require "resty.lmdb"


local kong = kong


local _M = {}


local function key_of(name, id)
  return "scim-bridge|own|" .. name .. "|" .. id
end


--- Whether SCIM may write an entity: with a database each, for there nothing is declared.
function _M.has(name, id)
  if kong.db.strategy ~= "off" then
    return true
  end

  local value, err = lmdb.get(key_of(name, id))
  if err then
    envelope.raise("DATABASE", "LMDB does not answer: " .. err)
  end

  return value ~= nil
end


--- Notes in a transaction on LMDB that an entity is SCIM's, or that it is no more. Where it never was, this
-- fails the transaction (docs/kong.md#deleting-an-absent-key-fails).
function _M.note(t, name, id, present)
  t:set(key_of(name, id), present and "1" or nil)
end


return _M
