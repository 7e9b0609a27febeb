-- What this node of Kong says of itself; kong.scim.wake, which begins a tick as kong.scim.begin begins
-- a request.

local envelope = require "kong.plugins.scim-bridge.envelope"
local mark_of = require("kong.plugins.scim-bridge.memory").mark_of
local stored = require "kong.plugins.scim-bridge.stored"


local kong  = kong
local given = envelope.given


local _M = {}


local function workspace()
  return ngx.ctx.workspace or kong.default_workspace
end


--- Whether the guard is on for every route of the request's, or the tick's, workspace.
function _M.is_guarded()
  return stored.is_guarded(workspace())
end


function _M.host()
  local database = kong.configuration.database
  return {
    dialect = database == "postgres" and "postgresql" or "sqlite",
    database = database,
    role = kong.configuration.role,
    kong_version = kong.version,
    node_id = kong.node.get_id(),
    workspace = workspace(),
  }
end


--- Live values of vault references; null where the vault has none.
function _M.secrets(references)
  local secrets = {}
  for _, reference in ipairs(references) do
    local value = kong.vault.is_reference(reference) and kong.vault.get(reference)
    secrets[reference] = value or ngx.null
  end

  return secrets
end


function _M.wake(arg)
  local references, key = given(arg.secrets) or {}, given(arg.mark)
  local mark
  if key and kong.db.strategy == "off" then
    mark = mark_of(key)
  end

  return {
    bridge_version = envelope.VERSION,
    host = _M.host(),
    secrets = _M.secrets(references),
    mark = mark or ngx.null,
    observed = stored.observed(),
    guarded = _M.is_guarded(),
    asked = ngx.ctx.scim_asked or ngx.null, -- by api.lua
  }
end


--- kong.scim.answer: what became of what was asked.
function _M.answer(arg)
  ngx.ctx.scim_answered = arg
  return {}
end


return _M
