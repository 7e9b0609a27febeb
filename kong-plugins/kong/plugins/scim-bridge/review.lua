-- kong.scim.review answers what an access review needs of Kong: routes, services and plugins, a page at a
-- time, and what credentials some consumers have. It never answers the value of a credential, nor any field
-- of a plugin's configuration that is not listed here: such a field may be a secret.

local entities = require "kong.plugins.scim-bridge.entities"
local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local postgres = require "kong.plugins.scim-bridge.postgres"


local kong  = kong
local array = envelope.array
local given = envelope.given


local MOST = 500 -- rows of a page, and consumers whose credentials are read


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


--- Returns the credentials of consumers by one statement.
local function credentials_by_sql(ids)
  local connector, kinds = internals.connector(), {}
  for _, credential in ipairs(entities.credentials(kong.db)) do
    table.insert(kinds, { credential.dao.schema, credential.field })
  end
  if not kinds[1] or not ids[1] then
    return array({})
  end

  local literal = connector:escape_literal(envelope.encode(array(ids)))
  local rows, err = connector:query(postgres.credentials(kinds, literal), "read")
  if not rows then
    envelope.raise("DATABASE", err)
  end
  return array(rows == true and {} or rows)
end


--- Returns the credentials of consumers on a DB-less Kong, where a look-up takes microseconds.
local function credentials_by_dao(ids)
  local found = array({})
  for _, credential in ipairs(entities.credentials(kong.db)) do
    local dao, field = credential.dao, credential.field
    for _, owner in ipairs(ids) do
      for row, err in dao["each_for_" .. field](dao, { id = owner }) do
        if err then
          envelope.raise("DATABASE", err)
        end
        table.insert(found, {
          kind = dao.schema.name,
          id = row.id,
          owner = owner,
          created = row.created_at,
          expires = row.ttl and ngx.time() + row.ttl or nil, -- a DAO answers the seconds that are left
        })
      end
    end
  end

  return found
end


local function valid_ids(requested)
  envelope.expect(type(requested) == "table" and #requested <= MOST,
                  "`credentials` must be a list of at most " .. MOST .. " ids of consumers")
  local ids = {}
  for _, id in ipairs(requested) do
    if internals.is_valid_uuid(id) then
      table.insert(ids, id)
    end
  end
  return ids
end


local function review(arg)
  local requested = given(arg.credentials)
  if requested then
    local ids = valid_ids(requested)
    local read = internals.has_database() and credentials_by_sql or credentials_by_dao
    return { credentials = read(ids) }
  end

  envelope.expect(READERS[arg.entities], "`entities` must be services, routes or plugins")
  return page(arg.entities, given(arg.offset))
end


return review
