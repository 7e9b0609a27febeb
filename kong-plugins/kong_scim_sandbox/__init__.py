"""A gateway to try and to test Kong SCIM on a machine without Kong. It is no Kong.

It serves HTTP, calls the real plugin server as Kong does (:mod:`.mp_rpc`), and keeps Kong's
entities and the SCIM tables in one SQLite file. Nothing of :mod:`kong_scim` imports it.
"""
