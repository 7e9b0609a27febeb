"""The Lua that ships, scim-bridge, run by the sandbox in LuaJIT.

``stand_in/*.lua`` is what those modules use of ``kong`` and ``ngx``; it asks Python for what a
process has one of: the database, the caches, the shared dictionary. Values cross between the two as
JSON text, and every other text as octets (in Python: one character each, Latin-1).
"""
