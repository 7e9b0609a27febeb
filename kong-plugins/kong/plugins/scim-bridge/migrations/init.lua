return {
  "000_base_scim_bridge",
}
