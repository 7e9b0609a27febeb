-- The targets: the DAOs of Kong whose rows make a consumer a member of a group. What else Python knows of
-- a target is in kong_scim/sync/targets/. Each has:
--   name    the field with the name of the group; of the row, or of the group's own entity
--   groups  the DAO of that entity; nil if a group is only a name
--   group   the field of the row that refers to that entity
return {
  acls = { name = "group" },
  consumer_group_consumers = { name = "name", groups = "consumer_groups", group = "consumer_group" },
}
