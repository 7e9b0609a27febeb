-- kong.scim.review answers what an access review needs of Kong: routes, services and plugins, a page at a
-- time. It never answers a field of a plugin's configuration that is not listed here: it may be a secret.

local envelope = require "kong.plugins.scim-bridge.envelope"


local kong  = kong
local array = envelope.array
local given = envelope.given


local MOST = 500 -- rows of a page


-- the fields of configurations that say who may pass, of acl and of the plugins that authenticate
local CONFIG = { "allow", "deny", "always_use_authenticated_groups", "anonymous" }


local function id_of(reference)
  return type(reference) == "table" and reference.id or nil
end


local READERS = {
  services = function(row)
    return { id = row.id, name = given(row.name), enabled = row.enabled ~= false }
  end,

  routes = function(row)
    return {
      id = row.id,
      name = given(row.name),
      service = id_of(row.service),
      protocols = array(row.protocols or {}),
    }
  end,

  plugins = function(row)
    local config = {}
    for _, name in ipairs(CONFIG) do
      local value = given((row.config or {})[name])
      config[name] = type(value) == "table" and array(value) or value
    end
    return {
      id = row.id,
      name = row.name,
      enabled = row.enabled ~= false,
      route = id_of(row.route),
      service = id_of(row.service),
      consumer = id_of(row.consumer),
      consumer_group = id_of(row.consumer_group),
      config = config,
    }
  end,
}


--- Returns a page of the routes, services or plugins of this workspace, and where the next page begins.
local function page(name, offset)
  local rows, err, err_t, next_offset = kong.db[name]:page(MOST, offset)
  if not rows then
    envelope.raise(err_t and err_t.name == "invalid offset" and "BAD_REQUEST" or "DATABASE", err)
  end

  local read = array({})
  for i, row in ipairs(rows) do
    read[i] = READERS[name](row)
  end
  return { rows = read, offset = next_offset or ngx.null }
end


local function review(arg)
  envelope.expect(READERS[arg.entities], "`entities` must be services, routes or plugins")
  return page(arg.entities, given(arg.offset))
end


return review
