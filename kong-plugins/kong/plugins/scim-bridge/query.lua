-- kong.scim.query: rows of the SCIM tables, and Kong's consumers with their ACL groups.

local envelope = require "kong.plugins.scim-bridge.envelope"
local sql = require "kong.plugins.scim-bridge.sql"
local is_valid_uuid = require("kong.tools.uuid").is_valid_uuid


local kong   = kong
local find   = string.find
local null   = ngx.null
local array  = envelope.array
local fail   = envelope.fail
local given  = envelope.given


local KEYS = { "id", "username", "custom_id" }


local function tags_of(row)
  return array(given(row.tags) or {})
end


--- The values asked for by each key that could be there at all.
local function wanted(consumers)
  local by_key = {}
  for _, key in ipairs(KEYS) do
    by_key[key] = {}
    for _, value in ipairs(given(consumers[key]) or {}) do
      if type(value) == "string" and not find(value, "\0", 1, true)
         and (key ~= "id" or is_valid_uuid(value))
      then
        by_key[key][#by_key[key] + 1] = value
      end
    end
  end

  return by_key
end


local function to_consumer(row)
  return {
    id = row.id,
    username = row.username or null,
    custom_id = row.custom_id or null,
    tags = tags_of(row),
    acls = array({}),
  }
end


local function to_acl(row)
  return { id = row.id, group = row.group, tags = tags_of(row) }
end


--- Two statements for any number of consumers, where DAOs would take two for each.
local function consumers_by_sql(connector, conn, by_key)
  local condition
  for _, key in ipairs(KEYS) do
    local list = sql.list(connector, by_key[key])
    if list then
      condition = (condition and condition .. " OR " or "") .. key .. " IN (" .. list .. ")"
    end
  end

  local consumers, by_id = array({}), {}
  if not condition then
    return consumers
  end

  local workspace = connector:escape_literal(ngx.ctx.workspace or kong.default_workspace)
  local rows, err = connector:query("SELECT id, username, custom_id, tags FROM consumers WHERE ws_id = " ..
                                    workspace .. " AND (" .. condition .. ") ORDER BY id")
  if not rows then
    return sql.explain(conn, err)
  end

  for i, row in ipairs(rows) do
    consumers[i] = to_consumer(row)
    by_id[row.id] = consumers[i]
  end

  if not rows[1] or not kong.db.daos.acls then
    return consumers
  end

  local ids = {}
  for id in pairs(by_id) do
    ids[#ids + 1] = id
  end

  rows, err = connector:query('SELECT id, consumer_id, "group", tags FROM acls WHERE consumer_id IN (' ..
                              sql.list(connector, ids) .. ') ORDER BY "group"')
  if not rows then
    return sql.explain(conn, err)
  end

  for _, row in ipairs(rows) do
    local acls = by_id[row.consumer_id].acls
    acls[#acls + 1] = to_acl(row)
  end

  return consumers
end


local function consumers_by_dao(by_key)
  local consumers, seen = array({}), {}

  for _, key in ipairs(KEYS) do
    for _, value in ipairs(by_key[key]) do
      local dao = kong.db.consumers
      local select = key == "id" and dao.select or dao["select_by_" .. key]
      local row, err = select(dao, key == "id" and { id = value } or value)
      if err then
        return fail("DATABASE", err)
      end

      if row and not seen[row.id] then
        seen[row.id] = true
        local consumer = to_consumer(row)
        consumers[#consumers + 1] = consumer
        local acls = kong.db.daos.acls
        for acl, acl_err in (acls and acls:each_for_consumer({ id = row.id }) or pairs({})) do
          if not acl then
            return fail("DATABASE", acl_err)
          end
          consumer.acls[#consumer.acls + 1] = to_acl(acl)
        end
      end
    end
  end

  return consumers
end


local function run(connector, conn, statements, by_key)
  local results = array({})
  for i, statement in ipairs(statements) do
    local rows, err = sql.run(connector, conn, statement)
    if not rows then
      err.step = i - 1
      return nil, err
    end
    results[i] = rows
  end

  local consumers, err = consumers_by_sql(connector, conn, by_key)
  if not consumers then
    return nil, err
  end

  return { sql = results, consumers = consumers }
end


local function query(arg)
  local statements, consumers = given(arg.sql) or {}, given(arg.consumers) or {}
  if type(statements) ~= "table" or type(consumers) ~= "table" then
    return fail("BAD_REQUEST", "`sql` must be a list of statements and `consumers` an object of lists")
  end

  local by_key = wanted(consumers)
  if kong.db.strategy ~= "postgres" then
    if statements[1] then
      return fail("BAD_REQUEST", "this node has no SQL database: its SCIM rows live beside the plugin server")
    end

    local found, err = consumers_by_dao(by_key)
    return found and { sql = array({}), consumers = found }, err
  end

  local connector = kong.db.connector
  local conn, err = sql.connect(connector)
  if not conn then
    return nil, err
  end

  local result
  result, err = run(connector, conn, statements, by_key)
  connector:setkeepalive()
  return result, err
end


return query
