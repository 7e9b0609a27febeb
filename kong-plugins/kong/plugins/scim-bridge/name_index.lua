-- Finds consumers by a name in any case on a data plane, whose configuration has an index of names in their
-- exact case only. The index is made when the first login by a name comes, and again after a new
-- configuration. One of many consumers is made again in the background, and meanwhile the last one is used.

local internals = require "kong.plugins.scim-bridge.kong_internals"


local kong = kong


local PAGE = 1000
local FEW = 1000 -- consumers; an index of more is made again in the background
local SHARE = 10 -- an index is made again at the earliest after so many times as long as it took


local _M = {}


-- { names = lists of ids by each name in lower case, version = the hash of its configuration, is_small,
--   next = when it may be made again }
local index
local making


local function add(names, name, id)
  if type(name) == "string" then
    local key = name:lower()
    names[key] = names[key] or {}
    table.insert(names[key], id)
  end
end


local function make()
  local began, names, count = ngx.now(), {}, 0
  local version = internals.configuration_hash()
  for consumer, err in kong.db.consumers:each(PAGE) do
    if err then
      return nil, err
    end
    count = count + 1
    add(names, consumer.username, consumer.id)
    add(names, consumer.custom_id, consumer.id)
    internals.yield(true, ngx.get_phase())
  end

  ngx.update_time()
  local took = ngx.now() - began
  index = { names = names, version = version, is_small = count <= FEW, next = ngx.now() + SHARE * took }
  return index
end


local function make_again(premature)
  if not premature then
    local ok, made, err = pcall(make)
    if not (ok and made) then
      kong.log.err("the names of consumers could not be read again: ", ok and err or made)
    end
  end
  making = false
end


--- Returns the ids of the consumers with a name, as a table of which they are the keys; or nil and an error.
function _M.find(name)
  local current, err = index, nil
  local is_old = current and current.version ~= internals.configuration_hash()
  if not current or is_old and current.is_small then
    current, err = make()
  elseif is_old and not making and current.next <= ngx.now() then
    making = true
    assert(ngx.timer.at(0, make_again))
  end
  if not current then
    return nil, err
  end

  local ids = {}
  for _, id in ipairs(current.names[name:lower()] or {}) do
    ids[id] = true
  end
  return ids
end


return _M
