-- Every private API of Kong's hybrid mode that scim-bridge uses, each with the file of Kong that it was read
-- from (kong_internals.lua has all others).

local internals = require "kong.plugins.scim-bridge.kong_internals"


local kong = kong


local _M = {}


local PUSH = "push_config" -- kong/clustering/events.lua


--- Returns where this node's writes are made: "here", on the control plane ("cluster"), or nowhere, because
-- cluster_rpc is off ("off") or because the control plane is that of Konnect ("konnect").
function _M.channel()
  local conf = kong.configuration
  if conf.role ~= "data_plane" then
    return "here"
  end

  return conf.konnect_mode and "konnect" or kong.rpc and "cluster" or "off"
end


--- Tells whether this node is a control plane whose data planes can call it
-- (kong/clustering/rpc/manager.lua).
function _M.is_called()
  return kong.configuration.role == "control_plane" and kong.rpc ~= nil
end


--- Has calls of the other side of the channel run a function: fn(node, argument), which returns a table, or
-- nil and an error. The name without its last part is the capability that the other side sees.
function _M.on_call(method, fn)
  kong.rpc.callbacks:register(method, fn)
end


--- Calls a method of a node: "control_plane", or a data plane that is connected to this worker.
-- @return its result; or nil and an error. Kong waits 5 s for it
function _M.call(node, method, argument)
  local ok, result, err = pcall(kong.rpc.call, kong.rpc, node, method, argument)
  if ok then
    return result, err
  end
  return nil, tostring(result)
end


--- Returns the nodes at the other side of this worker's connections, each with whether it has a capability.
function _M.peers(capability)
  local peers = {}
  for node, list in pairs(kong.rpc:get_peers()) do
    peers[node] = false
    for _, each in ipairs(list) do
      peers[node] = peers[node] or each == capability
    end
  end

  return peers
end


--- The channel of the cluster event by which another control plane sends its data planes the configuration.
_M.PUSH_CHANNEL = "clustering:" .. PUSH


--- Tells whether this control plane also keeps each change of the configuration, for data planes that fetch
-- changes only (cluster_incremental_sync; kong/clustering/services/sync).
function _M.keeps_deltas()
  return kong.sync ~= nil and kong.sync.is_cp == true
end


--- Tells whether this data plane fetches the changes of the configuration, and not the whole.
function _M.takes_deltas()
  return kong.sync ~= nil and not kong.sync.is_cp
end


--- Has LMDB keep the id of the default workspace, without which the next start would look for all entities in
-- a workspace that is not there (docs/kong.md#the-default-workspace-of-a-data-plane-is-lost).
function _M.keep_default_workspace()
  local key, id = internals.DEFAULT_WORKSPACE_KEY, kong.default_workspace
  if internals.lmdb_get(key) or type(id) ~= "string" then
    return
  end

  local t = internals.lmdb_begin(1)
  t:set(key, id)
  local ok, err = t:commit()
  if not ok then
    kong.log.err("the id of the default workspace is not in LMDB: ", err)
  end
end


--- Sends the configuration to the data planes that are connected to this control plane, and tells all of them
-- that there are changes to fetch. This may take seconds.
function _M.push_configuration()
  internals.send_event("clustering", PUSH)
  if _M.keeps_deltas() then
    kong.sync.hooks:notify_all_nodes()
  end
end


--- Has the hooks of DAOs do nothing in a commit of scim-bridge (ngx.ctx.scim_commit). They would begin and
-- end transactions of their own within it (kong/clustering/services/sync/hooks.lua).
function _M.quiet_delta_hooks()
  local quieted = { strategy = { "begin_txn", "insert_delta", "commit_txn", "cancel_txn" },
                    hooks = { "notify_all_nodes" } }
  for part, names in pairs(_M.keeps_deltas() and quieted or {}) do
    local object = kong.sync[part]
    for _, name in ipairs(names) do
      local original = object[name]
      object[name] = function(...)
        return ngx.ctx.scim_commit or original(...)
      end
    end
  end
end


--- Calls a function with the payload of each notification of a channel of PostgreSQL, until the worker exits
-- or the connection breaks (kong/clustering/rpc/concentrator.lua does it in this way).
function _M.listen(channel, fn)
  local connector = internals.connector()
  local conn, err = connector:connect("write")
  if not conn then
    error(err, 0)
  end

  conn:settimeout(1000)
  connector:store_connection(nil, "write")

  local function query(text)
    local ok, query_err, _, notifications = conn:query(text)
    if not ok then
      error(query_err, 0)
    end
    for _, each in ipairs(notifications or {}) do
      fn(each.payload)
    end
  end

  local ok, failure = pcall(function()
    query('LISTEN "' .. channel .. '"')
    while not ngx.worker.exiting() do
      local found, wait_err = conn:wait_for_notification()
      if found then
        fn(found.payload)
      elseif wait_err:sub(-7) == "timeout" then
        query("SELECT 1")
      else
        error(wait_err, 0)
      end
    end
  end)
  pcall(conn.disconnect, conn)
  if not ok then
    error(failure, 0)
  end
end


return _M
