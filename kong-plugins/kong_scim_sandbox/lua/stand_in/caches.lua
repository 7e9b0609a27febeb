-- Stands for Kong's caches, whose texts all threads share. `host` has functions of Python.

local host, json = ...


local Cache = {}
Cache.__index = Cache


local tables = setmetatable({}, { __mode = "v" }) -- what this thread still uses, by the cached texts


--- Returns the value of a cached text. As in a worker of Kong, a table stays the same one while it is used.
local function value_of(text)
  local value = tables[text]
  if value == nil then
    value = json.decode(text).value
    tables[text] = type(value) == "table" and value or nil
  end
  return value
end


--- Returns the cached value; or calls `load`, and caches its result, which may be nil.
function Cache:get(key, options, load, ...)
  local text = host.cache_get(self.name, key) -- without one, Python keeps the caches locked until cache_put
  if not text then
    local ok, value, err = pcall(load, ...)
    text = ok and err == nil and json.safe.encode({ value = value }) or nil
    host.cache_put(self.name, key, text, (options or {}).ttl)
    if not ok then
      error(value, 0)
    end
    return value, err
  end

  return value_of(text)
end


function Cache:invalidate_local(key)
  host.cache_drop(self.name, key)
end
Cache.invalidate = Cache.invalidate_local


function Cache:purge()
  host.cache_drop(self.name)
end


--- Returns a cache. What the workers of a node share of it is all that it has.
return function(name)
  local shared = {
    delete = function(_, key)
      host.cache_drop(name, key)
    end,
  }
  local of_worker = { delete = function() end }
  local mlcache = { name = "", dict = shared, lru = of_worker }
  return setmetatable({ name = name, invalidation_channel = "invalidations", mlcache = mlcache }, Cache)
end
