"""A gateway to try Kong SCIM and to test it with, where no Kong is at hand. It is no Kong.

HTTP in front, the real plugin server behind (:mod:`.mp_rpc` speaks to it as Kong does), Kong's
entities and the SCIM tables in one SQLite file between. Nothing of :mod:`kong_scim` imports it.
"""
