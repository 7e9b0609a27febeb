"""The keys of Security Event Tokens: the first one signs, and all of them are served.

So a receiver can know the next key before it signs, and the last one until nobody has a token of
it any more.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from joserfc import jwk
from joserfc.errors import JoseError

MAX_KEYS = 8
"""Keys of one text."""

_ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519"}
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

_PEM = re.compile(
    r"-----BEGIN (?P<kind>[A-Z ]*(?:PRIVATE|PUBLIC) KEY)-----.+?-----END (?P=kind)-----", re.DOTALL
)


class SigningKeyError(ValueError):
    """A text that holds no key to sign with. The message says nothing of it."""


@dataclass(frozen=True)
class SigningKey:
    """One key.

    :param key: As joserfc has it.
    :param id: Its thumbprint (RFC 7638).
    """

    key: Any
    id: str
    algorithm: str

    def public(self) -> dict[str, Any]:
        """Return its public half as a JWK."""
        half = self.key.as_dict(private=False)
        return {**half, "kid": self.id, "use": "sig", "alg": self.algorithm}


def signing_keys(text: str) -> list[SigningKey]:
    """Read keys: PEM, one block after the other, a JWK, or a JWK set.

    RSA, EC and Ed25519. The first must be a private key.

    :raises SigningKeyError: For anything else.
    """
    try:
        found = list({each.id: each for each in map(_described, _imported(text))}.values())
    except (JoseError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SigningKeyError("it holds no key in PEM or JWK, or one of another kind") from None
    if not 0 < len(found) <= MAX_KEYS:
        raise SigningKeyError(f"it holds {len(found)} keys: give 1 to {MAX_KEYS}")
    if not found[0].key.is_private:
        raise SigningKeyError("its first key is a public one: give the private one")
    return found


def _described(key: Any) -> SigningKey:
    curve = key.as_dict(private=False).get("crv", "")
    return SigningKey(key, key.thumbprint(), _CURVES.get(curve) or _ALGORITHMS[key.key_type])


def _imported(text: str) -> list[Any]:
    if text.lstrip().startswith("{"):
        document = json.loads(text)
        return [jwk.import_key(each, each["kty"]) for each in document.get("keys", [document])]
    return [_of_pem(block.group()) for block in _PEM.finditer(text)]


def _of_pem(block: str) -> Any:
    last: Exception = ValueError("no key")
    for kind in ("RSA", "EC", "OKP"):
        try:
            return jwk.import_key(block, kind)
        except (JoseError, ValueError, TypeError) as error:
            last = error
    raise last
