-- The two Lua plugins as a rock, for a Kong whose Lua is installed with LuaRocks. In this directory:
--   luarocks make                       installs them where this Kong looks
--   luarocks pack kong-plugin-scim      makes kong-plugin-scim-0.1.0-1.all.rock, for other machines
-- The plugin server is not in it: that is the Python package kong-scim of the same release.
rockspec_format = "3.0"
package = "kong-plugin-scim"
version = "0.1.0-1"

source = {
  url = "file://.", -- `luarocks make` takes the files of this directory and fetches nothing
}

description = {
  summary = "SCIM 2.0 provisioning for Kong Gateway: the plugins scim and scim-bridge",
  license = "Apache-2.0",
}

dependencies = {
  "lua ~> 5.1", -- the LuaJIT of Kong
}

build = {
  type = "command",
  install_command = "cp -R kong $(LUADIR)/",
}
