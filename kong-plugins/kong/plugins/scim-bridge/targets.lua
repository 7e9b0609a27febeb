-- The targets: the DAOs of Kong whose rows make a consumer a member of a group. What else Python knows of
-- a target is in kong_scim/sync/targets/.
return {
  acls = true,
}
