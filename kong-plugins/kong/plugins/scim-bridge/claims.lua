-- Finds the verified claims of a request, and the subjects that they name. Claims come only from where a
-- plugin puts them after it has verified them: values of the request's context, which no client can set, and
-- headers that identity.lua has removed from the client's request before any plugin ran.

local decode_base64 = ngx.decode_base64
local decode_base64url = require("ngx.base64").decode_base64url
local decode_json = require("cjson.safe").decode
local internals = require "kong.plugins.scim-bridge.kong_internals"
local live_config = require "kong.plugins.scim-bridge.live_config"


local kong = kong
local null = ngx.null


local LONGEST = 65536 -- bytes of a token or header that is read
local FRESH = 1 -- seconds for which mappings are used before the configurations are looked at again
local REMEMBERED, MOST = 4096, 1000 -- bytes of a text that is remembered, and how many are


-- where the plugins of each preset put claims: `jwt` for the token that internals.jwt() returns, `credential`
-- for the credential of kong.client, `context` for keys of kong.ctx.shared
local PRESETS = {
  ["jwt"] = { jwt = true },
  ["jwt-keycloak"] = { jwt = true, context = { "jwt_keycloak_token" } },
  ["kong-oidc"] = { credential = true, headers = { "X-Userinfo", "X-ID-Token" } },
  ["openid-connect"] = { headers = { "X-Userinfo", "X-ID-Token" } },
}


local _M = {}


--- Returns a function that remembers what another one returned for the last texts: a person sends the same
-- token many times.
local function remembering(fn)
  local known, count = {}, 0
  return function(text)
    local value = known[text]
    if value == nil then
      value = fn(text)
      if #text <= REMEMBERED then
        if count >= MOST then
          known, count = {}, 0
        end
        known[text], count = value, count + 1
      end
    end
    return value
  end
end


--- Returns the payload of a JWT; false for any other text.
local payload_of = remembering(function(token)
  local payload = #token <= LONGEST and token:match("^[%w_-]+%.([%w_-]+)%.[%w_-]*$")
  local claims = payload and decode_json(decode_base64url(payload) or "")
  return type(claims) == "table" and claims
end)


--- Returns the claims in a text: a JWT, a JSON object, or one in base64.
local function claims_of_text(text)
  if type(text) ~= "string" or #text > LONGEST then
    return nil
  end

  local claims = payload_of(text) or decode_json(text) or decode_json(decode_base64(text) or "")
  return type(claims) == "table" and claims or nil
end


--- Returns the claims in a value of the context, which may be a text, a table, or a decoded token
-- (kong/plugins/jwt/jwt_parser.lua).
local function claims_of(value)
  if type(value) ~= "table" then
    return claims_of_text(value)
  end

  return type(value.claims) == "table" and value.claims or type(value.payload) == "table" and value.payload
         or value
end


local plans = setmetatable({}, { __mode = "k" }) -- what a configuration says, by its table


--- Returns where the claims of a configuration come from: jwt, credential, context and headers.
local function plan_of(conf)
  local plan = plans[conf]
  if plan then
    return plan
  end

  plan = { context = {}, headers = {}, issuer = conf.claims_issuer ~= null and conf.claims_issuer or nil }
  for _, name in ipairs(conf.claims or {}) do
    local preset = PRESETS[name]
    plan.jwt, plan.credential = plan.jwt or preset.jwt, plan.credential or preset.credential
    for _, list in ipairs({ "context", "headers" }) do
      for _, each in ipairs(preset[list] or {}) do
        table.insert(plan[list], each)
      end
    end
  end
  for _, each in ipairs(conf.claims_headers or {}) do
    table.insert(plan.headers, each)
  end
  for _, each in ipairs(conf.claims_context or {}) do
    table.insert(plan.context, each)
  end

  plan.any = plan.jwt or plan.credential or plan.context[1] or plan.headers[1]
  plans[conf] = plan
  return plan
end


--- Returns the names of the headers with claims, which no client may send.
function _M.headers(conf)
  return plan_of(conf).headers
end


--- Returns the verified claims of a request, a list of tables.
local function found_claims(plan)
  local list = {}
  local function add(claims)
    if claims then
      list[#list + 1] = claims
    end
  end

  if plan.jwt then
    local token = internals.jwt()
    add(type(token) == "string" and payload_of(token) or type(token) == "table" and claims_of(token))
  end
  if plan.credential then
    local credential = kong.client.get_credential()
    add(credential and type(credential.sub) == "string" and credential)
  end
  for _, name in ipairs(plan.context) do
    local value = kong.ctx.shared[name]
    add(value ~= nil and claims_of(value))
  end
  for _, name in ipairs(plan.headers) do
    add(claims_of_text(kong.request.get_header(name)))
  end

  return list
end


-- -- Mappings of tenants ------------------------------------------------------

local mappings = {} -- by workspace and issuer, a list of { claim, path, ignore_case, tenant }
local fresh_until = 0 -- when the configurations are looked at again
local known -- the number of the configurations (live_config.rows) of which they were made


local function parts_of(claim)
  local parts = {}
  for part in claim:gmatch("[^.]+") do
    parts[#parts + 1] = part
  end

  return parts
end


local function current_mappings(workspace)
  local now = ngx.now()
  if now < fresh_until then
    return mappings[workspace]
  end

  fresh_until = now + FRESH
  local ok, rows, serial = pcall(live_config.rows)
  if not ok and not known then
    fresh_until = 0
    error(rows, 0)
  elseif ok and serial ~= known then
    local new = {}
    for _, row in ipairs(rows) do
      local ws = row.ws_id or kong.default_workspace
      for _, subject in ipairs(type(row.config.subjects) == "table" and row.config.subjects or {}) do
        new[ws] = new[ws] or {}
        new[ws][subject.issuer] = new[ws][subject.issuer] or {}
        table.insert(new[ws][subject.issuer], {
          claim = subject.claim,
          path = parts_of(subject.claim),
          ignore_case = subject.ignore_case,
          tenant = row.config.tenant,
        })
      end
    end
    mappings, known = new, serial
  end

  return mappings[workspace]
end


local function value_at(claims, mapping)
  local value = claims[mapping.claim]
  if value == nil then
    value = claims
    for _, part in ipairs(mapping.path) do
      value = type(value) == "table" and value[part] or nil
    end
  end

  if type(value) == "number" then
    value = ("%.14g"):format(value)
  end
  if type(value) ~= "string" or value == "" then
    return nil
  end
  return mapping.ignore_case and value:lower() or value
end


local digest_of = remembering(internals.sha256_hex)


local named = setmetatable({}, { __mode = "k" }) -- by claims: a token that comes again has the same table


--- Returns the subjects that claims name, a list of { subject, tenant }.
local function subjects_of(claims, issuer, by_issuer)
  local known_list = named[claims]
  if known_list and known_list.by_issuer == by_issuer and known_list.issuer == issuer then
    return known_list
  end

  local list = { by_issuer = by_issuer, issuer = issuer }
  for _, mapping in ipairs(issuer and by_issuer[issuer] or {}) do
    local value = value_at(claims, mapping)
    if value then
      local text = issuer .. "\0" .. mapping.claim .. "\0" .. value
      list[#list + 1] = { subject = digest_of(text), tenant = mapping.tenant }
    end
  end

  named[claims] = list
  return list
end


--- Returns the subjects that the verified claims of a request name, a list of { subject, tenant, issued_at };
-- or nil, and an error or nil. issued_at is nil if no claims say when the token was issued.
function _M.subjects(conf, workspace)
  local plan = plan_of(conf)
  local list = plan.any and found_claims(plan)
  if not (list and list[1]) then
    return
  end

  local ok, by_issuer = pcall(current_mappings, workspace)
  if not ok then
    return nil, by_issuer
  elseif not by_issuer then
    return
  end

  local found, issued_at = {}, nil
  for _, claims in ipairs(list) do
    local moment = tonumber(claims.iat)
    issued_at = moment and math.min(moment, issued_at or moment) or issued_at
    local issuer = type(claims.iss) == "string" and claims.iss or plan.issuer
    for _, each in ipairs(subjects_of(claims, issuer, by_issuer)) do
      found[#found + 1] = { subject = each.subject, tenant = each.tenant, issued_at = moment }
    end
  end

  for _, each in ipairs(found) do
    each.issued_at = each.issued_at or issued_at
  end
  return found
end


return _M
