return {
  name = "scim-without-ticks",
  fields = {
    { config = { type = "record", fields = {} } },
  },
}
