return { "000_base_scim_consumer_groups" }
