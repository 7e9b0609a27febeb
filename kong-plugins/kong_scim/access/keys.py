"""The public keys of a JWT's issuer: pinned, or fetched from its JWKS URL (RFC 7517 §5)."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, Protocol

from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, Key, KeyParameters, KeySet, OKPKey, RSAKey, import_key

from kong_scim.access.refusals import KeysUnavailableException
from kong_scim.waiting import KEYS, Room

log = logging.getLogger(__name__)

MAX_SIZE = 256 * 1024
"""In bytes, of a JWKS document: some hundred keys with their certificates."""

TIMEOUT = 5.0
"""In seconds, of a whole fetch."""

MAX_AGE = 3600.0
"""In seconds: when keys that are known are fetched again, so that a withdrawn one goes."""

KEPT = 24 * 3600.0
"""In seconds: how long keys count whose issuer cannot be reached any more."""


class Keys(Protocol):
    """Where keys are looked up."""

    def find(self, kid: str | None, algorithm: str) -> Key:
        """Return the key of an id; without one, the only key there is.

        :raises ~joserfc.errors.InvalidKeyIdError: When there is none.
        :raises KeysUnavailableException: When that cannot be said at this moment.
        """


class PinnedKeys:
    """Keys from the configuration: a PEM public key, a JWK or a JWKS.

    :raises ValueError: When it is none, or holds a private or a symmetric key.
    """

    def __init__(self, text: str) -> None:
        try:
            self._keys = _key_set(json.loads(text)) if text.lstrip().startswith("{") else _pem(text)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ValueError(f"this is no public key (PEM, JWK or JWKS): {error}") from None

    def find(self, kid: str | None, algorithm: str) -> Key:
        """Return the key of an id; a single pinned key needs none."""
        return _find(self._keys, kid if len(self._keys.keys) > 1 else None, algorithm)


class FetchedKeys:
    """Keys of a JWKS URL, kept, and fetched again for an id that is not among them.

    :param floor: In seconds, between two fetches: a stranger's invented ids cause no more.
    :param fetch: Returns the document; any exception is a failure.
    :param clock: In seconds, from anywhere on.
    :param waiting_room: Where requests wait for a fetch of any instance of the plugin; more are
        answered 503 and leave their worker to others.
    """

    def __init__(
        self,
        url: str,
        *,
        floor: float,
        fetch: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = time.monotonic,
        waiting_room: Room = KEYS,
    ) -> None:
        self._url = url
        self._floor = floor
        self._fetch = fetch or fetched
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched = self._tried = -1e9
        self._lock = threading.Lock()
        self._waiting_room = waiting_room

    def find(self, kid: str | None, algorithm: str) -> Key:
        """Return the key of an id, from what was fetched before if it is there."""
        keys, fetched = self._keys, self._fetched
        if keys is not None and self._clock() - fetched < MAX_AGE:
            try:
                return _find(keys, kid, algorithm)
            except InvalidKeyIdError:
                if self._clock() - self._tried < self._floor:
                    raise
        return _find(self._refreshed(fetched), kid, algorithm)

    def _refreshed(self, seen: float) -> KeySet:
        with self._waiting_room.place() as may_wait:
            if not may_wait:
                raise KeysUnavailableException(retry_after=1)
            with self._lock:
                if self._fetched == seen and self._clock() - self._tried >= self._floor:
                    self._try()
                keys = self._keys
                if keys is None or self._clock() - self._fetched >= KEPT:
                    raise KeysUnavailableException(retry_after=max(1, int(self._floor)))
                return keys

    def _try(self) -> None:
        self._tried = self._clock()
        try:
            self._keys = _key_set(json.loads(self._fetch(self._url)))
            self._fetched = self._clock()
        except Exception as error:  # whatever an issuer sends
            log.warning(
                "the keys at %s cannot be had: %s: %s",
                *(self._url, type(error).__name__, str(error)[:200]),
            )


def fetched(url: str) -> bytes:
    """Return what is at a URL. Redirects are not followed: the URL that was configured counts.

    :raises OSError: When it cannot be had in time.
    :raises ValueError: When it is over :data:`MAX_SIZE`.
    """
    deadline = time.monotonic() + TIMEOUT
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310
    try:
        with _OPENER.open(request, timeout=TIMEOUT) as answer:
            content = bytearray()
            while chunk := answer.read1(65536):
                content += chunk
                if len(content) > MAX_SIZE:
                    raise ValueError(f"the document is over {MAX_SIZE} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the document takes more than {TIMEOUT:g} s")
            return bytes(content)
    except HTTPException as error:
        raise OSError(type(error).__name__) from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: urllib makes an HTTPError of the answer."""


_OPENER = urllib.request.build_opener(_NoRedirects())


def _find(keys: KeySet, kid: str | None, algorithm: str) -> Key:
    parameters: KeyParameters = {"alg": algorithm, "use": "sig"}
    return keys.get_by_kid(kid, parameters if kid is not None else None)


def _pem(text: str) -> KeySet:
    if "PUBLIC KEY" not in text:
        raise ValueError("a PEM public key begins with -----BEGIN PUBLIC KEY-----")
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            return KeySet([kind.import_key(text)])
        except (JoseError, ValueError, TypeError):
            continue
    raise ValueError("the PEM text holds no RSA, EC or Ed25519 public key")


def _key_set(document: Any) -> KeySet:
    """Return the public keys for signatures of a JWKS or JWK; unknown kinds are left out."""
    listed = document.get("keys", [document])
    found: list[Key] = []
    for each in listed:
        if each.get("kty") not in ("RSA", "EC", "OKP") or each.get("use") == "enc":
            continue  # a symmetric key would let who can read the document sign
        key = import_key({name: value for name, value in each.items() if name not in _PRIVATE})
        found.append(key)
    if not found:
        raise ValueError("it holds no public key for signatures")
    return KeySet(found)


_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "key_ops"})
