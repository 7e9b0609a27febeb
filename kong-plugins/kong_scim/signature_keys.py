"""Says which keys may sign and verify. The same rule holds for our keys and for those of others."""

from __future__ import annotations

from joserfc.jwk import Key, RSAKey

LEAST_RSA_BITS = 2048
"""RFC 7518 §3.3: a key of 2048 bits or larger MUST be used with these algorithms."""

TAKEN = f"RSA of {LEAST_RSA_BITS} bits or more, EC (P-256, P-384, P-521) and Ed25519"

_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "Ed25519"}

ALGORITHMS = ["RS256", *_ALGORITHMS.values()]
"""The algorithms of all keys that may sign."""


class UnfitKeyError(ValueError):
    """A key cannot be used for signatures, or is too weak. The message does not contain the key."""


def algorithm_of(key: Key) -> str:
    """Return the algorithm that a key signs with (RFC 7518 §3.1, RFC 9864).

    :raises UnfitKeyError: For a key that is too short, or of a kind that is not accepted.
    """
    if isinstance(key, RSAKey):
        bits = key.public_key.key_size
        if bits < LEAST_RSA_BITS:
            raise UnfitKeyError(f"an RSA key of {bits} bits is too short: taken are {TAKEN}")
        return "RS256"
    curve = key.as_dict(private=False).get("crv", key.key_type)
    if curve not in _ALGORITHMS:
        raise UnfitKeyError(f"a key of the kind {curve} is not taken: taken are {TAKEN}")
    return _ALGORITHMS[str(curve)]
