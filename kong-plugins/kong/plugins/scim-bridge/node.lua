-- Describes this node of Kong, and has kong.scim.wake, which begins a tick as kong.scim.begin begins a
-- request.

local envelope = require "kong.plugins.scim-bridge.envelope"
local hybrid = require "kong.plugins.scim-bridge.hybrid_internals"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local read_epoch = require("kong.plugins.scim-bridge.epoch").read
local live_config = require "kong.plugins.scim-bridge.live_config"
local memberships = require "kong.plugins.scim-bridge.memberships"
local postgres = require "kong.plugins.scim-bridge.postgres"


local kong  = kong
local given = envelope.given


local _M = {}


--- Tells whether the guard is on for every route of the workspace of the request or tick.
function _M.is_guarded()
  return live_config.is_guarded(internals.workspace())
end


--- Returns the facts about this node. The database of a data plane is that of its control plane.
function _M.host()
  local channel = hybrid.channel()
  local is_data_plane = channel == "cluster"
  return {
    dialect = (is_data_plane or internals.has_database()) and postgres.DIALECT or "sqlite",
    database = is_data_plane and postgres.DATABASE or kong.configuration.database,
    channel = channel,
    kong_version = kong.version,
    node_id = kong.node.get_id(),
    workspace = internals.workspace(),
    targets = memberships.daos(),
  }
end


--- Returns the live values of vault references by reference; null if the vault has none.
function _M.secrets(references)
  local secrets = {}
  for _, reference in ipairs(references) do
    local value = kong.vault.is_reference(reference) and kong.vault.get(reference)
    secrets[reference] = value or ngx.null
  end

  return secrets
end


function _M.wake(arg)
  local references, key = given(arg.secrets) or {}, given(arg.epoch)
  local epoch
  if key and not internals.has_database() then
    epoch = read_epoch(key)
  end

  return {
    bridge_version = envelope.VERSION,
    host = _M.host(),
    secrets = _M.secrets(references),
    epoch = epoch or ngx.null,
    observed = live_config.observed(),
    guarded = _M.is_guarded(),
    admin_request = ngx.ctx.scim_admin_request or ngx.null, -- api.lua sets it
  }
end


--- kong.scim.answer_admin_request keeps the plugin server's answer for api.lua.
function _M.answer_admin_request(arg)
  arg.bridge_version = nil
  ngx.ctx.scim_admin_answer = arg
  return {}
end


return _M
