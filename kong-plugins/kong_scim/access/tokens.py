"""Bearer tokens (RFC 6750): who may call is decided before anything is read.

Kong's own authentication plugins answer in a shape that identity providers do not read, so this
plugin checks the token itself (interop 20).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scim2_models import UnauthorizedException

from kong_scim.config import Token


@dataclass(frozen=True)
class Identity:
    """Who presented a token."""

    token: str
    """The name of the token in the configuration; safe to log."""


class InvalidTokenException(UnauthorizedException):
    """Credentials were sent, and they are not a token that is accepted."""


_REFUSAL = "Send one of the bearer tokens of this endpoint: Authorization: Bearer <token>"


class Authenticator:
    """Compares a request's token with those of the configuration.

    :param tokens: As Kong hands them to the plugin; a referenced value is the one at the instance's
        start, and never used.
    :param references: The vault reference of each token that has one, by the token's name. Its live
        value comes with each request, so that a rotated secret counts at once (kong-facts 11).
    """

    def __init__(self, tokens: Sequence[Token], references: Mapping[str, str]) -> None:
        self._references = dict(references)
        self._fixed = {
            token.name: _digest(token.value) for token in tokens if token.name not in references
        }
        self._names = [token.name for token in tokens]

    @property
    def secrets(self) -> list[str]:
        """The vault references whose live values :meth:`authenticate` wants."""
        return list(dict.fromkeys(self._references.values()))

    def authenticate(
        self, authorization: str | None, secrets: Mapping[str, str | None]
    ) -> Identity:
        """Return who sent the request.

        Every token is compared, in time that does not depend on which matches or how far.

        :param authorization: The Authorization header.
        :param secrets: Live values by reference; a token whose value is None is not accepted.
        :raises UnauthorizedException: When there is no header.
        :raises InvalidTokenException: When it is no bearer token, or a wrong one.
        """
        if not authorization or not authorization.strip():
            raise UnauthorizedException(detail=_REFUSAL)
        scheme, _, given = authorization.strip().partition(" ")
        presented = _digest(given)
        found: str | None = None
        for name in self._names:
            expected = self._expected(name, secrets)
            if hmac.compare_digest(presented, expected or bytes(len(presented))) and expected:
                found = name
        if found is None or scheme.lower() != "bearer" or not given.strip():
            raise InvalidTokenException(detail=_REFUSAL)
        return Identity(found)

    def _expected(self, name: str, secrets: Mapping[str, str | None]) -> bytes | None:
        if name in self._fixed:
            return self._fixed[name]
        value = secrets.get(self._references[name])
        return _digest(value) if value and value.strip() else None


def _digest(token: str) -> bytes:
    """Return a token in a form of constant length, without the line end a secret file ends with."""
    return hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
