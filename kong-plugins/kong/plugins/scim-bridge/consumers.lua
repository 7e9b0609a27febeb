-- Reads consumers through Kong's cache, and their states from their tags. The guard asks on each request, so
-- a state is read once for each time that the cache loads its consumer.

local tags = require "kong.plugins.scim-bridge.tags"


local kong = kong


local _M = {}


-- By the consumer's table: a worker's cache returns the same one until the consumer is invalidated, and
-- another one afterwards (kong/resty/mlcache/init.lua). So no state outlives a change of its consumer.
local states = setmetatable({}, { __mode = "k" })


--- Returns the state of a table that the cache has returned for an id before; else nil.
local function known(consumer, id)
  local state = consumer and states[consumer]
  return state and state.id == id and state or nil
end


--- Tells whether the cache has returned this table before, so that its id is a valid one.
function _M.is_known(consumer)
  return consumer ~= nil and known(consumer, consumer.id) ~= nil
end


--- Returns the consumer with an id as the cache has it now; or nil, and an error if it could not be read.
-- @param given the consumer that authenticated the request; usually the same table
function _M.load(id, given)
  local state = known(given, id)
  local key = state and state.cache_key or kong.db.consumers:cache_key(id)
  local consumer, err = kong.cache:get(key, nil, kong.client.load_consumer, id)
  if consumer and not known(consumer, id) then
    states[consumer] = tags.read(consumer)
    states[consumer].cache_key = key
  end

  return consumer, err
end


--- Returns the state (tags.lua) of a consumer that `load` returned.
function _M.state(consumer)
  return states[consumer]
end


return _M
