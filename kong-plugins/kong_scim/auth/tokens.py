"""Static bearer tokens (RFC 6750): by value, vault reference, file or digest."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from kong_scim.auth.errors import InvalidTokenException, WrongAddressException
from kong_scim.auth.scopes import PROVISIONING, Identity
from kong_scim.config.plugin import Token
from kong_scim.files import WatchedFile

log = logging.getLogger(__name__)

WARNING = timedelta(days=14)
"""How long before its expiry a token that is used is warned of in the log, once a day."""

MAX_TOKENS = 8
"""Lines of a token file that count."""

_NOTHING = bytes(32)


class TokenFile:
    """The tokens of a file, one on each line, read again when the file changes.

    A file that is empty for a moment lets nobody in.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = WatchedFile(path, "token file", _digests, clock)

    def digests(self) -> tuple[bytes, ...]:
        """Return the digests of the tokens; of a file that cannot be read, none."""
        return self._file.get() or ()


def _digests(text: str) -> tuple[bytes, ...]:
    return tuple(digest(line) for line in text.splitlines() if line.strip())[:MAX_TOKENS]


def digest(token: str) -> bytes:
    """Return the SHA-256 of a token, without the line end that a secret file ends with."""
    return hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()


class Tokens:
    """Compares a token with those of the configuration.

    :param tokens: As Kong hands them to the plugin; a referenced value is the one at the instance's
        start, and never used.
    :param references: The vault reference of each token that has one, by the token's name. Its live
        value comes with each request, so that a rotated secret counts at once
        (docs/kong.md#vault-values-go-stale).
    :param clock: In seconds since the epoch.
    """

    def __init__(
        self,
        tokens: Sequence[Token],
        references: Mapping[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._references = dict(references)
        self._clock = clock
        self._tokens = {token.name: token for token in tokens}
        self._files = {token.name: TokenFile(token.file) for token in tokens if token.file}
        self._fixed = {
            token.name: bytes.fromhex(token.sha256) if token.sha256 else digest(token.value or "")
            for token in tokens
            if not token.file and token.name not in references
        }
        self._warned: dict[str, float] = {}
        for file in self._files.values():
            file.digests()  # so that the log says at the start what is wrong with one

    @property
    def secrets(self) -> list[str]:
        """The vault references whose live values :meth:`find` wants."""
        return list(dict.fromkeys(self._references.values()))

    def find(
        self, given: str, secrets: Mapping[str, str | None], client_ip: str
    ) -> Identity | None:
        """Return whose token this is, or None where it is nobody's.

        Every token is compared, in time that does not depend on which matches or how far.

        :param secrets: Live values by reference; a token whose value is None is not accepted.
        :raises InvalidTokenException: When it has expired.
        :raises WrongAddressException: When it does not count from this address.
        """
        presented = digest(given)
        found: str | None = None
        for name in self._tokens:
            for expected in self._expected(name, secrets) or (None,):
                if hmac.compare_digest(presented, expected or _NOTHING) and expected:
                    found = name
        if found is None or not given.strip():
            return None
        token = self._tokens[found]
        self._check_expiry(token)
        if token.networks and not _within(client_ip, token.networks):
            log.warning("token %s was sent from %s, outside its networks", token.name, client_ip)
            raise WrongAddressException
        return Identity(found, frozenset(token.scopes) or PROVISIONING)

    def _expected(self, name: str, secrets: Mapping[str, str | None]) -> tuple[bytes, ...]:
        if name in self._files:
            return self._files[name].digests()
        if name in self._fixed:
            return (self._fixed[name],)
        value = secrets.get(self._references[name])
        return (digest(value),) if value and value.strip() else ()

    def _check_expiry(self, token: Token) -> None:
        if token.expires is None:
            return
        now = self._clock()
        left = timedelta(seconds=token.expiry() - now)
        if left <= timedelta(0):
            log.warning("token %s was sent, which expired at %s", token.name, token.expires)
            raise InvalidTokenException(
                detail=f"This token expired at {token.expires}: send the new one",
                description="The token expired",
            )
        if left < WARNING and now - self._warned.get(token.name, 0) >= 86400:
            self._warned[token.name] = now
            log.warning(
                "token %s expires at %s, in %d days: make the next one",
                *(token.name, token.expires, left.days),
            )


def _within(client_ip: str, networks: Sequence[str]) -> bool:
    try:
        address = ipaddress.ip_address(client_ip)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
