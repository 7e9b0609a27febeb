"""JWT bearer tokens (RFC 7519, RFC 8725): what Okta and Entra send as OAuth 2.0 clients.

The cryptography is joserfc's. What is ours: which algorithms count (a list, all asymmetric, so that
neither ``none`` nor an HMAC over a public key is ever tried), whose tokens, for whom, and what they
allow.
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
"""Characters of a JWT."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_CLIENT = ("azp", "client_id", "cid", "appid", "sub")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.@-]")


class _Registry(JWSRegistry):
    max_header_length = 8192  # Entra and others send certificates


class JwtVerifier:
    """Verifies the JWTs of one issuer.

    :param keys: Where its keys are; None for what the configuration says.
    :param failures: Where it is noted that they cannot be fetched.
    :param clock: In seconds since the epoch.
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
    def looks_like_one(given: str) -> bool:
        """Tell whether credentials have the form of a JWT."""
        return len(given) <= MAX_LENGTH and _COMPACT.fullmatch(given) is not None

    def verify(self, given: str) -> Identity:
        """Return who sent a JWT, and with which scopes: none, where it names none of ours.

        :raises InvalidTokenException: When it is not accepted; if its signature held, saying why.
        :raises ~.refusals.KeysUnavailableException: When the issuer's keys cannot be had.
        """
        try:
            token = jwt.decode(given, self._key, registry=self._registry)
        except KeysUnavailableException:
            raise
        except Exception:  # whatever this text does to a library, it is a wrong token
            raise InvalidTokenException from None
        try:
            self._claims.validate(token.claims)
        except ExpiredTokenError:
            raise _refused("The token expired") from None
        except MissingClaimError as error:
            raise _refused(f"The token has no claim {error.claim}") from None
        except InvalidClaimError as error:
            raise _refused(f"The token's claim {error.claim} is not accepted") from None
        except Exception:  # signed, and yet of any shape
            raise _refused("The token's claims are not accepted") from None
        return Identity(f"jwt:{_client(token.claims)}", frozenset(self._scopes(token.claims)))

    def _key(self, token: Any) -> Key:
        header = token.headers()
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise ValueError("kid is no string")
        # RFC 7515 §4.1.11: of what may stand there nothing is understood here, and it must not be
        # empty. RFC 7797 §7: no JWT has b64 false.
        if "crit" in header or header.get("b64", True) is not True:
            raise ValueError("it has a critical extension")
        # Not before an algorithm is known to be allowed: nobody makes us fetch keys for `none`.
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
    """Return the client's name as logs may show it."""
    named = next((claims[name] for name in _CLIENT if isinstance(claims.get(name), str)), "?")
    return _UNSAFE.sub("_", named)[:64]


def _refused(description: str) -> InvalidTokenException:
    return InvalidTokenException(detail=description, description=description)
