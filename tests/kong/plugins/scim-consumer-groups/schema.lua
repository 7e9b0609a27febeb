return {
  name = "scim-consumer-groups",
  fields = {
    { config = { type = "record", fields = {} } },
  },
}
