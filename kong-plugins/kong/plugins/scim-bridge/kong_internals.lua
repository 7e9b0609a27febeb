-- Every private API of Kong that scim-bridge uses, each with the file of Kong that it was read from. Any
-- release of Kong may change them, so no other module calls one by itself (`make check` holds that). Two more
-- modules depend on Kong's internals: draft.lua implements the strategy of a DAO
-- (kong/db/strategies/off/init.lua), and postgres.lua has SQL on Kong's tables.

local kong = kong


local READ_FROM = "3.9" -- the release of Kong


local _M = { READ_FROM = READ_FROM }


--- Returns the member of a module of Kong. A Kong without it does not start with scim-bridge, because
-- otherwise the guard would be off without notice.
local function private(module, name)
  local ok, found = pcall(require, module)
  local value = ok and type(found) == "table" and found[name]
  return value or error("scim-bridge was written for Kong " .. READ_FROM .. " and this is Kong " ..
                        kong.version .. ", which has no `" .. name .. "` in " .. module, 0)
end


--- Warns once on each node whose Kong is of another release than the one that was read.
function _M.init_worker()
  if ngx.worker.id() == 0 and kong.version:find(READ_FROM .. ".", 1, true) ~= 1 then
    kong.log.warn("scim-bridge was written for Kong ", READ_FROM, " and this is Kong ", kong.version,
                  ": try it before you rely on it, since it uses private functions of Kong")
  end
end


-- -- Functions of modules ----------------------------------------------------

_M.JSON_PRECISION = private("kong.constants", "CJSON_MAX_PRECISION") -- kong/constants.lua
_M.DEFAULT_WORKSPACE_KEY = private("kong.constants", "DECLARATIVE_DEFAULT_WORKSPACE_KEY") -- the same file
_M.deep_copy = private("kong.tools.table", "cycle_aware_deep_copy") -- kong/tools/table.lua
_M.escape_path = private("kong.tools.uri", "escape") -- kong/tools/uri.lua
_M.is_valid_uuid = private("kong.tools.uuid", "is_valid_uuid") -- kong/tools/uuid.lua
_M.request_id = private("kong.observability.tracing.request_id", "get") -- .../tracing/request_id.lua
_M.sha256_hex = private("kong.tools.sha256", "sha256_hex") -- kong/tools/sha256.lua
_M.uuid = private("kong.tools.uuid", "uuid") -- kong/tools/uuid.lua
_M.yield = private("kong.tools.yield", "yield") -- kong/tools/yield.lua


-- -- The database and its entities -------------------------------------------

--- Tells whether this Kong has PostgreSQL; else it is DB-less (kong/db/init.lua).
function _M.has_database()
  return kong.db.strategy == "postgres"
end


--- Returns the connector to PostgreSQL (kong/db/strategies/postgres/connector.lua).
function _M.connector()
  return kong.db.connector
end


--- Returns the id of the workspace that DAOs and caches use (kong/workspaces/init.lua).
function _M.workspace()
  return ngx.ctx.workspace or kong.default_workspace
end


function _M.set_workspace(id)
  ngx.ctx.workspace = id
end


--- Makes a view of kong.db whose DAOs append their events to a list instead of sending them
-- (kong/db/dao/init.lua). Kong's option no_broadcast_crud_event is not enough: acls ignores it, and the
-- events of cascaded children would be lost.
-- @param strategy_of returns the strategy for a DAO of the view; without it, each DAO has its usual one
function _M.recorder(events, strategy_of)
  local db = kong.db
  local view = setmetatable({}, { __index = db })

  view.daos = setmetatable({}, { __index = function(daos, name)
    local dao = db.daos[name]
    if not dao then
      return
    end

    local recording = setmetatable({ db = view }, { __index = dao })
    function recording:post_crud_event(operation, entity, old_entity)
      table.insert(events, { dao = dao, operation = operation, entity = entity, old_entity = old_entity })
    end

    daos[name] = recording
    recording.strategy = strategy_of and strategy_of(dao) or nil
    return recording
  end })

  return view
end


local function without_nulls(entity)
  local copy = entity and _M.deep_copy(entity)
  for name, value in pairs(copy or {}) do
    copy[name] = value ~= ngx.null and value or nil
  end

  return copy
end


--- Sends the event of a DAO to those in this worker who listen to its kind of entity. Kong's own handler of
-- all kinds (kong/runloop/events.lua) would insert each cache key into the database once more. The event is
-- marked for listeners of scim-bridge, which have nothing more to do.
function _M.send_entity_event(event)
  local schema = event.dao.schema
  local channel = schema.table or schema.name
  local data = {
    operation = event.operation,
    schema = schema,
    entity = without_nulls(event.entity),
    old_entity = without_nulls(event.old_entity),
    is_of_scim = true,
  }
  kong.worker_events.post_local("crud", channel, data)
  kong.worker_events.post_local("crud", channel .. ":" .. event.operation, data)
end


-- -- The memory of a DB-less Kong --------------------------------------------

_M.lmdb_get = private("resty.lmdb", "get") -- resty/lmdb.lua
_M.lmdb_begin = private("resty.lmdb.transaction", "begin") -- resty/lmdb/transaction.lua
_M.lmdb_page = private("resty.lmdb.prefix", "page") -- resty/lmdb/prefix.lua
-- the functions of Kong's incremental sync (kong/db/declarative/import.lua)
_M.delete_entity = private("kong.db.declarative", "delete_entity_for_txn")
_M.insert_entity = private("kong.db.declarative", "insert_entity_for_txn")


-- -- Caches and events -------------------------------------------------------

local ENTITY_CACHE_STORE = private("kong.constants", "ENTITY_CACHE_STORE") -- kong/constants.lua
local HASH_KEY = private("kong.constants", "DECLARATIVE_HASH_KEY") -- the same file


--- Returns the cache of an entity's rows.
function _M.cache_of(entity)
  return kong[ENTITY_CACHE_STORE[entity]]
end


--- Returns the name of a cache, by which it is found in `kong` (kong/global.lua).
function _M.name_of(cache)
  return cache == kong.core_cache and "core_cache" or "cache"
end


--- Deletes a key from what the workers of this node share of a cache. Each worker then forgets it by
-- `forget`: Kong's own invalidation sends an event for each key (kong/resty/mlcache/init.lua).
function _M.delete_shared(cache, key)
  local mlcache = cache.mlcache
  for _, dict in pairs({ mlcache.dict, mlcache.dict_miss }) do
    dict:delete(mlcache.name .. key)
  end
end


--- Deletes a key from this worker's own memory of a cache (kong/resty/mlcache/init.lua).
function _M.forget(cache, key)
  cache.mlcache.lru:delete(key)
end


--- Returns the channel of a cache's cluster events (kong/cache/init.lua).
function _M.invalidation_channel(cache)
  return cache.invalidation_channel
end


--- Returns the hash of the configuration in LMDB, which changes with it in the same transaction
-- (kong/db/declarative/import.lua, kong/clustering/services/sync/rpc.lua).
function _M.configuration_hash()
  return _M.lmdb_get(HASH_KEY)
end


--- Calls a function with the data of each event that another node sends on a channel (kong/cluster_events).
function _M.on_cluster_event(channel, handler)
  return kong.cluster_events:subscribe(channel, handler)
end


--- Returns for how many seconds a cluster event is kept (kong/cluster_events/strategies/postgres.lua).
function _M.cluster_event_ttl()
  return kong.cluster_events.strategy.event_ttl
end


--- Calls a function with the data of each event, on this worker (kong/global.lua).
function _M.on_event(fn, source, event)
  kong.worker_events.register(fn, source, event)
end


--- Calls a function when a DB-less Kong has loaded a configuration (kong/runloop/events.lua).
function _M.on_configuration_loaded(fn)
  _M.on_event(fn, "declarative", "reconfigure")
end


--- Sends an event to all workers of this node (kong/global.lua).
function _M.send_event(source, event, data)
  return kong.worker_events.post(source, event, data)
end


--- Returns the dictionary that Kong's workers share (kong/templates/nginx_kong.lua).
function _M.shared()
  return ngx.shared.kong
end


--- Returns the dictionary for subjects: one of its own if kong.conf makes one, else Kong's.
function _M.subjects_dictionary()
  return ngx.shared.scim_subjects or ngx.shared.kong
end


-- -- Plugins and their configurations ----------------------------------------

local PLUGINS_VERSION = "plugins_iterator:version" -- kong/runloop/plugins_iterator.lua
local SEQUENCE = "plugins_iterator:__seq__" -- a key of the shared dictionary, from the same file
local NEVER_EXPIRES = { ttl = 0 }


-- the fields that the iterator adds to a plugin's configuration, without the sequence number
_M.ADDED_TO_CONFIGURATIONS = { "route_id", "service_id", "consumer_id", "plugin_instance_name", "__plugin_id",
                               "__ws_id", "__key__" }


--- Returns a text that changes whenever a plugin is changed.
function _M.plugins_version()
  return kong.core_cache:get(PLUGINS_VERSION, NEVER_EXPIRES, _M.uuid)
end


--- Has the workers of this node reload their plugins.
function _M.reload_plugins()
  kong.core_cache:invalidate_local(PLUGINS_VERSION)
end


--- Returns the plugins that are configured in the workspace of this request, or nil if that is not known. It
-- is the same table until Kong reloads its plugins (kong/runloop/plugins_iterator.lua).
function _M.plugins()
  local collected = ngx.ctx.plugins
  return collected and collected.ws and collected.ws.plugins or nil
end


--- Returns the sequence number for a new configuration, by which plugin_servers/plugin.lua tells two apart.
function _M.next_sequence()
  return ngx.shared.kong:incr(SEQUENCE, 1, 0)
end


--- Sets the plugin for which the plugin server is called (kong/runloop/plugin_servers/plugin.lua).
function _M.set_plugin(id)
  ngx.ctx.plugin_id = id
end


--- Returns a plugin as its plugin server describes it (kong/runloop/plugin_servers/init.lua). That module is
-- loaded here and not at the top, because it fails in Kong's command line, which loads this file.
function _M.load_plugin(name)
  local ok, plugin = private("kong.runloop.plugin_servers", "load_plugin")(name)
  return ok and plugin or error(plugin)
end


--- Returns a field of the handlers of some plugins by their names (kong/db/dao/plugins.lua).
local function of_handlers(names, field)
  local found = {}
  for _, each in ipairs(kong.db.plugins:get_handlers() or {}) do
    for _, name in ipairs(names) do
      if each.name == name then
        found[name] = each.handler[field]
      end
    end
  end

  return found
end


--- Returns the priorities of some plugins by their names, without those that are not in KONG_PLUGINS.
function _M.priorities(names)
  return of_handlers(names, "PRIORITY")
end


--- Returns the versions of some plugins by their names.
function _M.versions(names)
  return of_handlers(names, "VERSION")
end


-- -- Other plugins -------------------------------------------------------------

-- the prefix of the id of a credential (kong/plugins/ldap-auth/access.lua)
_M.LDAP_CREDENTIAL = "ldap_auth_cache:"


local consumer_groups = private("kong.plugins.acl.groups", "get_consumer_groups") -- plugins/acl/groups.lua


local names_of = setmetatable({}, { __mode = "k" }) -- by the table of that function, which is also a set


--- Returns the names of a consumer's ACL groups; none without the acl plugin.
-- @return a list that nobody may change, and an error or nil
function _M.acl_groups(consumer_id)
  local groups, err
  if kong.db.daos.acls then
    groups, err = consumer_groups(consumer_id)
  end
  if not groups then
    return {}, err
  end

  local names = names_of[groups]
  if not names then
    names = {}
    for i, group in ipairs(groups) do
      names[i] = group
    end
    names_of[groups] = names
  end
  return names
end


--- Returns the registry of the prometheus plugin; nil without it (kong/plugins/prometheus/exporter.lua).
function _M.prometheus()
  return private("kong.plugins.prometheus.exporter", "get_prometheus")()
end


--- Returns the session that authenticated a request, or nil (kong/plugins/session/access.lua).
function _M.session()
  return kong.ctx.shared.authenticated_session or ngx.ctx.authenticated_session
end


--- Removes the session from a request, so that the session plugin does not renew its cookie.
function _M.forget_session()
  kong.ctx.shared.authenticated_session = nil
end


--- Returns the token that authenticated a request, or nil (kong/plugins/jwt/handler.lua).
function _M.jwt()
  return kong.ctx.shared.authenticated_jwt_token or ngx.ctx.authenticated_jwt_token
end


return _M
