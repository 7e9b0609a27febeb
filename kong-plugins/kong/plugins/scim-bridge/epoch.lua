-- The epoch of a tenant is the value of a key in LMDB, which Kong deletes together with SCIM's rows when it
-- loads a configuration. So while it is there, the rows that were written under it are there too.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"


local given = envelope.given


local LOADED = "the configuration was loaded anew since SCIM's rows were applied to it"


local _M = {}


--- Returns the epoch of a key, or nil.
function _M.read(key)
  local value, err = internals.lmdb_get(key)
  if err then
    envelope.raise("DATABASE", "LMDB does not answer: " .. err)
  end

  return value
end


--- Raises unless an epoch is the expected one.
-- @param epoch { key, expected, becomes }; `expected` is null for none
function _M.expect(epoch)
  if _M.read(epoch.key) ~= given(epoch.expected) then
    envelope.raise("EPOCH_CHANGED", LOADED)
  end
end


--- Begins a transaction on LMDB, which reads the epoch first.
-- @param epoch as for `expect`, or nil
-- @param hint how many operations it may have
function _M.begin(epoch, hint)
  local t = internals.lmdb_begin(hint)
  if epoch then
    t:get(epoch.key)
  end

  return t
end


--- Commits a transaction that `begin` made, and sets the epoch. It raises if the epoch was not the expected
-- one.
function _M.commit(t, epoch)
  if epoch and given(epoch.becomes) ~= nil then
    t:set(epoch.key, epoch.becomes)
  end

  local ok, err = t:commit()
  if not ok then
    envelope.raise("DATABASE", "LMDB refuses: " .. err)
  end

  -- if another worker loaded a configuration after the check, the epoch is deleted, so that all is applied
  -- again
  if epoch and t[1].result ~= given(epoch.expected) then
    local forget = internals.lmdb_begin(1)
    forget:set(epoch.key, nil)
    forget:commit()
    envelope.raise("EPOCH_CHANGED", LOADED)
  end
end


return _M
