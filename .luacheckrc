std             = "ngx_lua"
unused_args     = false
redefined       = false
max_line_length = 110

globals = {
  "kong",
}

not_globals = {
  "string.len",
  "table.getn",
}

files["kong-plugins/kong/plugins/scim-bridge/migrations"] = {
  max_line_length = false, -- as SQLAlchemy prints it
}
