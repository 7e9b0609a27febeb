"""Reads the keys of Security Event Tokens. The first one signs, and all of them are served.

So a receiver can have the next key before it signs, and the last key until its tokens are used up.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from joserfc import jwk, jwt

from kong_scim.signature_keys import TAKEN, UnfitKeyError, algorithm_of

MAX_KEYS = 8
"""Keys in one text at most."""

_PEM = re.compile(
    r"-----BEGIN (?P<kind>[A-Z ]*(?:PRIVATE|PUBLIC) KEY)-----.+?-----END (?P=kind)-----", re.DOTALL
)


class SigningKeyError(ValueError):
    """A text has no key that can sign. The message has nothing of the text."""


@dataclass(frozen=True)
class SigningKey:
    """A private or public key for Security Event Tokens.

    :param key: The key object of joserfc.
    :param id: The thumbprint of the key (RFC 7638).
    """

    key: Any
    id: str
    algorithm: str

    def public(self) -> dict[str, Any]:
        """Return the public key as a JWK."""
        public_key = self.key.as_dict(private=False)
        return {**public_key, "kid": self.id, "use": "sig", "alg": self.algorithm}


def signing_keys(text: str) -> list[SigningKey]:
    """Read keys from PEM blocks, a JWK, or a JWK set.

    Keys may be RSA of 2,048 bits or more, EC and Ed25519. The first must be a private key.

    :raises SigningKeyError: For anything else, and if the first key cannot sign.
    """
    try:
        found = list({each.id: each for each in map(_described, _imported(text))}.values())
    except UnfitKeyError as error:
        raise SigningKeyError(f"it holds no key to sign with: {error}") from None
    except Exception:  # joserfc and cryptography raise many, and their texts may contain the key
        raise SigningKeyError(f"it holds no key in PEM or JWK: taken are {TAKEN}") from None
    if not 0 < len(found) <= MAX_KEYS:
        raise SigningKeyError(f"it holds {len(found)} keys: give 1 to {MAX_KEYS}")
    if not found[0].key.is_private:
        raise SigningKeyError("its first key is a public one: give the private one")
    _try(found[0])
    return found


def _try(key: SigningKey) -> None:
    """Sign once, because a key may be unable to sign for more reasons than can be checked."""
    try:
        jwt.encode({"alg": key.algorithm}, {}, key.key, algorithms=[key.algorithm])
    except Exception:
        raise SigningKeyError(f"its first key cannot sign: taken are {TAKEN}") from None


def _described(key: Any) -> SigningKey:
    return SigningKey(key, key.thumbprint(), algorithm_of(key))


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
        except Exception as error:
            last = error
    raise last
