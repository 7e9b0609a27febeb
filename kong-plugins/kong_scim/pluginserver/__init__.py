"""The plugin server: it runs a Python plugin for Kong on a bounded number of workers.

It speaks the MsgPack RPC of Kong's ``kong/runloop/plugin_servers/rpc/mp_rpc.lua`` and hands plugins
the PDK object of kong-pdk. It knows nothing of SCIM but the shape of an error body, and loads any
plugin file of kong-pdk's format. Run it with ``python -m kong_scim.pluginserver --socket PATH``.
"""
