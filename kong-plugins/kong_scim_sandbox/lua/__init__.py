"""Runs scim-bridge, the Lua that ships, in LuaJIT.

``stand_in/*.lua`` has the parts of ``kong`` and ``ngx`` that scim-bridge uses. For what all threads
share (the database, the caches, the shared dictionary) it calls Python. Values are passed as JSON
text, and every other text as octets (in Python a string with one Latin-1 character for each).
"""
