-- Stands for resty.lmdb, and for the two functions of kong.db.declarative that write an entity, over a table
-- of keys and the entities' tables in the sandbox's SQLite file. A transaction is a list of operations, of
-- which its commit runs all or none. Like LMDB, it does not check unique fields and references.

local host, json = ...


local Transaction = {}
Transaction.__index = Transaction


local function add(t, operation)
  t[#t + 1] = operation
end


function Transaction:get(key)
  add(self, { op = "get", key = key })
end


function Transaction:set(key, value)
  add(self, { op = value == nil and "delete" or "set", key = key, value = value })
end


function Transaction:commit()
  local list = setmetatable({}, json.array_mt)
  for i, operation in ipairs(self) do
    list[i] = operation
  end

  local answer = json.decode(host.lmdb_commit(json.encode(list)))
  if answer.error then
    return nil, answer.error
  end

  for i, value in ipairs(answer.ok) do
    self[i].result = value ~= ngx.null and value or nil
  end
  return true
end


local function writing(op)
  return function(t, name, row)
    add(t, { op = op, name = name, row = row })
    return true
  end
end


return {
  lmdb = {
    get = function(key)
      return host.lmdb_get(key)
    end,
  },
  --- Returns the rows with a prefix from a key on, and whether there are more.
  prefix = {
    page = function(start, prefix, _, size)
      local rows = json.decode(host.lmdb_page(start, prefix, size))
      return rows, #rows == size
    end,
  },
  transaction = {
    begin = function()
      return setmetatable({}, Transaction)
    end,
  },
  declarative = {
    insert_entity_for_txn = writing("insert_entity"),
    delete_entity_for_txn = writing("delete_entity"),
  },
}
