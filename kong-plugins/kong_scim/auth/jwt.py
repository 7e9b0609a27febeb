"""JWT bearer tokens (RFC 7519, RFC 8725): what Okta and Entra send as OAuth 2.0 clients.

joserfc does the cryptography. This module decides which algorithms are accepted (a list of
asymmetric ones, so that neither ``none`` nor an HMAC over a public key is ever tried), which issuer
and audience, and which scopes a token gives.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, MissingClaimError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from kong_scim.auth.errors import InvalidTokenException, KeysUnavailableException
from kong_scim.auth.issuer_keys import FetchedKeys, Keys, PinnedKeys
from kong_scim.auth.scopes import Identity
from kong_scim.config.plugin import SCOPES, Jwt
from kong_scim.counts import Failures

MAX_LENGTH = 16 * 1024
"""Characters that a JWT may have."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_CLIENT = ("azp", "client_id", "cid", "appid", "sub")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.@-]")


class _Registry(JWSRegistry):
    max_header_length = 8192  # Entra and others put certificates into the header


class JwtVerifier:
    """Verifies the JWTs of one issuer.

    :param keys: The issuer's keys; None for those that the configuration names.
    :param failures: Where failures to fetch the keys are noted.
    :param clock: Returns seconds since the epoch.
    """

    def __init__(
        self,
        config: Jwt,
        *,
        keys: Keys | None = None,
        clock: Callable[[], float] = time.time,
        failures: Failures | None = None,
    ) -> None:
        self._config = config
        self._keys = keys or _keys(config, failures)
        self._registry = _Registry(algorithms=config.algorithms, strict_check_header=False)
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock()),
            leeway=config.clock_skew,
            iss={"essential": True, "value": str(config.issuer)},
            aud={"essential": True, "values": list(config.audience)},
            exp={"essential": True},
        )

    @staticmethod
    def looks_like_one(token: str) -> bool:
        """Tell whether credentials have the form of a JWT."""
        return len(token) <= MAX_LENGTH and _COMPACT.fullmatch(token) is not None

    def verify(self, token: str) -> Identity:
        """Return the client that sent a JWT, with the scopes that it names.

        :raises InvalidTokenException: When it is not accepted, with the reason if its signature is
            valid.
        :raises ~.errors.KeysUnavailableException: When the issuer's keys cannot be fetched.
        """
        try:
            decoded = jwt.decode(token, self._key, registry=self._registry)
        except KeysUnavailableException:
            raise
        except Exception:  # any error of the library means that the token is invalid
            raise InvalidTokenException from None
        try:
            self._claims.validate(decoded.claims)
        except ExpiredTokenError:
            raise _refused("The token expired") from None
        except MissingClaimError as error:
            raise _refused(f"The token has no claim {error.claim}") from None
        except InvalidClaimError as error:
            raise _refused(f"The token's claim {error.claim} is not accepted") from None
        except Exception:  # claims of a signed token may still have any shape
            raise _refused("The token's claims are not accepted") from None
        return Identity(f"jwt:{_client(decoded.claims)}", frozenset(self._scopes(decoded.claims)))

    def _key(self, token: Any) -> Key:
        header = token.headers()
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise ValueError("kid is no string")
        # RFC 7515 §4.1.11: a token with a critical extension that is not understood is refused, and
        # none is understood here. RFC 7797 §7: a JWT never has b64 false.
        if "crit" in header or header.get("b64", True) is not True:
            raise ValueError("it has a critical extension")
        # The algorithm is checked before keys are looked up, so `none` never causes a fetch.
        algorithm = self._registry.get_alg(header["alg"])
        return self._keys.find(kid, algorithm.name)

    def _scopes(self, claims: dict[str, Any]) -> Iterable[str]:
        for value in _words(claims.get(self._config.scope_claim)):
            if value in SCOPES:
                yield value
            yield from self._config.scopes.get(value, [])


def _keys(config: Jwt, failures: Failures | None) -> Keys:
    if config.public_key:
        return PinnedKeys(config.public_key)
    return FetchedKeys(str(config.jwks_url), floor=config.refresh_floor, failures=failures)


def _words(claim: Any) -> list[str]:
    """Return the values of a claim that is a string of words (RFC 8693 §4.2) or a list."""
    if isinstance(claim, str):
        return claim.split()
    return [each for each in claim if isinstance(each, str)] if isinstance(claim, list) else []


def _client(claims: dict[str, Any]) -> str:
    """Return the client's name, with characters replaced that are unsafe in a log."""
    named = next((claims[name] for name in _CLIENT if isinstance(claims.get(name), str)), "?")
    return _UNSAFE.sub("_", named)[:64]


def _refused(description: str) -> InvalidTokenException:
    return InvalidTokenException(detail=description, description=description)
