-- The routes of Enterprise's Admin API for members of consumer groups, as far as the tests need them.

local endpoints = require "kong.api.endpoints"


local kong = kong


local function found(self, db, name)
  local entity, _, err_t = endpoints.select_entity(self, db, db[name].schema)
  if err_t then
    return endpoints.handle_error(err_t)
  end

  return entity or kong.response.exit(404, { message = "Not found" })
end


return {
  ["/consumers/:consumers/consumer_groups"] = {
    schema = kong.db.consumers.schema,
    methods = {
      GET = function(self, db)
        local consumer, groups = found(self, db, "consumers"), setmetatable({}, require("cjson").array_mt)
        for row in db.consumer_group_consumers:each_for_consumer({ id = consumer.id }, 1000) do
          groups[#groups + 1] = db.consumer_groups:select(row.consumer_group)
        end
        return kong.response.exit(200, { consumer_groups = groups })
      end,
    },
  },

  ["/consumer_groups/:consumer_groups/consumers"] = {
    schema = kong.db.consumer_groups.schema,
    methods = {
      POST = function(self, db)
        local group = found(self, db, "consumer_groups")
        local _, _, err_t = db.consumer_group_consumers:insert({
          consumer_group = { id = group.id },
          consumer = { id = self.args.post.consumer },
        })
        if err_t then
          return endpoints.handle_error(err_t)
        end
        return kong.response.exit(201, { consumer_group = group })
      end,
    },
  },
}
