"""HTTP to servers that somebody else runs: webhook receivers and the issuers of tokens.

Whatever the other side does, an exchange ends in time, reads a bounded amount, and fails with a
sentence of ours. Addresses are checked by where they lead, and certificates by RFC 5280, in the
same way on every version of Python.
"""
