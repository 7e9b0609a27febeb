-- Stands for Kong's DAOs, as far as scim-bridge uses them: they check an entity against its schema, write it
-- by a strategy, and send an event by post_crud_event. Schemas and errors come from Python.

local host, json = ...


local UUID = ("^" .. ("%x"):rep(8) .. "%-" .. ("%x"):rep(4) .. "%-" .. ("%x"):rep(4) .. "%-" .. ("%x"):rep(4)
              .. "%-" .. ("%x"):rep(12) .. "$")


local function call(name, ...)
  local answer = json.decode(host[name](...))
  if answer.error then
    return nil, answer.error
  end

  return answer.ok
end


local function without_nulls(row)
  local clean = {}
  for name, value in pairs(row) do
    if value ~= ngx.null then
      clean[name] = value
    end
  end

  return clean
end


-- -- Schemas ---------------------------------------------------------------

local Schema = {}
Schema.__index = Schema


function Schema:each_field()
  local i = 0
  return function()
    i = i + 1
    local field = self.list[i]
    if field then
      return field.name, field
    end
  end
end


function Schema:get_constraints()
  return self.constraints
end


function Schema.has_transformations()
  return false
end


function Schema:process_auto_fields(entity)
  return call("entity_filled", self.name, json.encode(entity)) or entity
end


function Schema:validate_insert(entity)
  local _, err_t = call("entity_filled", self.name, json.encode(entity))
  return err_t == nil, err_t and err_t.fields
end


local function new_schema(described)
  local list, fields = {}, {}
  if described.primary_key[1] == "id" then
    list[1] = { name = "id", type = "string", unique = false }
  end
  for _, name in ipairs(described.strings) do
    list[#list + 1] = { name = name, type = "string", unique = described.unique[name] == true }
  end
  for _, name in ipairs(described.numbers) do
    list[#list + 1] = { name = name, type = "integer" }
  end
  list[#list + 1] = described.tagged and { name = "tags", type = "set" } or nil
  for name, reference in pairs(described.foreign) do
    list[#list + 1] = { name = name, type = "foreign", reference = reference }
  end
  for _, field in ipairs(list) do
    fields[field.name] = field
  end

  return setmetatable({
    name = described.name,
    cache_key = next(described.foreign) and described.cache_key or nil,
    primary_key = described.primary_key,
    updated = described.updated,
    admin_api_nested_name = described.path,
    ttl = fields.ttl ~= nil,
    list = list,
    fields = fields,
    constraints = {},
  }, Schema)
end


-- -- Errors ----------------------------------------------------------------

local errors = { codes = { DATABASE_ERROR = 8 } }
for _, name in ipairs({ "unique_violation", "primary_key_violation", "not_found", "invalid_primary_key",
                        "foreign_key_violation_invalid_reference", "foreign_key_violation_restricted",
                        "schema_violation" }) do
  errors[name] = function(_, ...)
    return json.decode(host.error(name, json.encode({ ... })))
  end
end


-- -- DAOs ------------------------------------------------------------------

local DAO = {}


function DAO:__index(name)
  if DAO[name] then
    return DAO[name]
  end

  local field = type(name) == "string" and name:match("^select_by_(.+)$")
  if field then
    return function(dao, value)
      return dao:answered(dao.strategy:select_by_field(field, value))
    end
  end

  field = type(name) == "string" and name:match("^each_for_(.+)$")
  if field then
    return function(dao, key)
      return dao:iterated(dao.strategy["page_for_" .. field](dao.strategy, key))
    end
  end
end


--- Returns the result of a strategy as a DAO returns it: a row; or nil, an error's text, and the error.
function DAO:answered(row, err_t)
  if err_t then
    return nil, err_t.message, err_t
  end

  return row and without_nulls(row) or nil
end


function DAO:iterated(rows, err_t)
  local i = 0
  return function()
    i = i + 1
    if rows and rows[i] then
      return without_nulls(rows[i])
    elseif err_t and i == 1 then
      return false, err_t.message, err_t
    end
  end
end


function DAO:cache_key(key, second)
  local parts = { self.schema.name }
  if type(key) == "table" then
    for _, name in ipairs(self.schema.cache_key or { "id" }) do
      local value = key[name]
      parts[#parts + 1] = type(value) == "table" and value.id or value or ""
    end
  else
    parts[#parts + 1] = key
    parts[#parts + 1] = second
  end

  return table.concat(parts, ":")
end


function DAO:select(key)
  if self.schema.fields.id and (type(key.id) ~= "string" or not key.id:find(UUID)) then
    local err_t = errors:invalid_primary_key(key)
    return nil, err_t.message, err_t
  end

  return self:answered(self.strategy:select(key))
end


function DAO:select_by_cache_key(entity)
  return self:answered(self.strategy:select_by_field("cache_key", self:cache_key(entity)))
end


function DAO:each()
  return self:iterated(self.strategy:page())
end


function DAO:insert(entity)
  local filled, err_t = call("entity_filled", self.schema.name, json.encode(entity))
  local _, text, invalid
  if filled then
    _, text, invalid = self:select(filled)
  end
  if not filled or invalid then
    err_t = err_t or invalid
    return nil, text or err_t.message, err_t
  end

  local row
  row, err_t = self.strategy:insert(filled)
  if not row then
    return nil, err_t.message, err_t
  end

  row = without_nulls(row)
  self:post_crud_event("create", row)
  return row
end


function DAO:update(key, changes)
  local before, err, err_t = self:select(key)
  if err then
    return nil, err, err_t
  elseif not before then
    err_t = errors:not_found(key)
    return nil, err_t.message, err_t
  end

  local wanted = {}
  for name, value in pairs(before) do
    wanted[name] = value
  end
  for name, value in pairs(changes) do
    wanted[name] = value
  end
  local filled
  filled, err_t = call("entity_filled", self.schema.name, json.encode(wanted))
  if not filled then
    return nil, err_t.message, err_t
  end

  changes.updated_at = self.schema.updated and filled.updated_at or nil
  local row
  row, err_t = self.strategy:update(key, changes)
  if not row then
    return nil, err_t.message, err_t
  end

  row = without_nulls(row)
  self:post_crud_event("update", row, before)
  return row
end


--- Deletes an entity, and sends events of it and of all entities that are deleted with it.
function DAO:delete(key)
  local entity, err, err_t = self:select(key)
  if err then
    return nil, err, err_t
  elseif not entity then
    return true
  end

  local cascaded = {}
  for _, constraint in ipairs(self.schema:get_constraints()) do
    local dao = self.db.daos[constraint.schema.name]
    for row in dao["each_for_" .. constraint.field_name](dao, { id = key.id }) do
      cascaded[#cascaded + 1] = { dao = dao, row = row }
    end
  end

  local ok
  ok, err_t = self.strategy:delete(key)
  if not ok then
    return nil, err_t.message, err_t
  end

  self:post_crud_event("delete", entity)
  for _, each in ipairs(cascaded) do
    each.dao:post_crud_event("delete", each.row)
  end

  return true
end


function DAO:post_crud_event(operation, entity, old_entity)
  kong.worker_events.post("crud", self.schema.name,
                          { operation = operation, entity = entity, old_entity = old_entity })
end


-- -- Strategies ------------------------------------------------------------

--- Makes a strategy over the sandbox's SQLite file, which stands for PostgreSQL's tables and for LMDB.
local function new_strategy(schema)
  local strategy, name = {}, schema.name

  local function find(field, value)
    local rows, err_t = call("entity_rows", name, field, value)
    return rows, err_t
  end

  function strategy:select(key)
    local field, value = "id", key.id
    if not schema.fields.id then -- its cache key has the fields of its primary key
      field, value = "cache_key", DAO.cache_key({ schema = schema }, key)
    end
    local rows, err_t = find(field, value)
    return rows and rows[1] or nil, err_t
  end

  function strategy:select_by_field(field, value)
    local rows, err_t = find(field, value)
    return rows and rows[1] or nil, err_t
  end

  for field, definition in pairs(schema.fields) do
    if definition.type == "foreign" then
      strategy["page_for_" .. field] = function(_, key)
        return find(field, key.id)
      end
    end
  end

  function strategy:page()
    return call("entity_rows", name)
  end

  local function write(entity, known)
    local rows, err_t = call("entity_write", name, json.encode(entity), known)
    if not rows then
      kong.db.connector:lose()
      return nil, err_t
    end
    return rows[1]
  end

  function strategy:insert(entity)
    return write(entity, false)
  end

  function strategy:update(key, changes)
    changes.id = key.id
    return write(changes, true)
  end

  function strategy:delete(key)
    return call("entity_delete", name, json.encode(key))
  end

  return strategy
end


--- Makes the DAOs of kong.db.
local function daos(db)
  local all = {}
  for _, described in ipairs(json.decode(host.schemas())) do
    local schema = new_schema(described)
    all[described.name] = setmetatable({
      db = db,
      schema = schema,
      errors = errors,
      strategy = new_strategy(schema),
    }, DAO)
  end

  for _, dao in pairs(all) do
    for name, field in pairs(dao.schema.fields) do
      if field.type == "foreign" then
        local constraints = all[field.reference].schema.constraints
        constraints[#constraints + 1] = { schema = dao.schema, field_name = name, on_delete = "cascade" }
      end
    end
  end

  return all
end


return { daos = daos, errors = errors }
