"""HTTP to servers that somebody else runs: webhook receivers and the issuers of tokens.

Whatever the other side does, an exchange ends in time, reads a bounded amount, and fails with a
sentence of ours. Addresses are judged by what they lead to, and certificates are held to RFC 5280
on every version of Python alike.
"""
