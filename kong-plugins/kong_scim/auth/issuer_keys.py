"""The public keys of a JWT's issuer: pinned, or fetched from its JWKS URL (RFC 7517 §5)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import ECKey, Key, KeyParameters, KeySet, OKPKey, RSAKey, import_key

from kong_scim.auth.errors import KeysUnavailableException
from kong_scim.counts import Failures
from kong_scim.outgoing.fetching import fetched as fetched_within
from kong_scim.signature_keys import TAKEN, UnfitKeyError, algorithm_of
from kong_scim.worker_slots import KEYS, WorkerSlots

JOB = "keys"
"""The name of the fetch as a job of :class:`.Failures`."""

MAX_SIZE = 256 * 1024
"""Bytes that a JWKS document may have: some hundred keys with their certificates."""

TIMEOUT = 5.0
"""Seconds that a whole fetch may take."""

LONGEST_WAIT = TIMEOUT + 1.0
"""Seconds that a request waits for a fetch. A name lookup may make the fetch exceed its timeout."""

GRACE = 0.5
"""Seconds that a request waits for a fetch which it began because keys are past :data:`MAX_AGE`.
So a withdrawn key is refused, if its issuer answers in time."""

MAX_AGE = 3600.0
"""Seconds after which known keys are fetched again, to drop withdrawn ones."""

KEPT = 24 * 3600.0
"""Seconds for which keys are accepted while their issuer cannot be reached."""


class Keys(Protocol):
    """A source of an issuer's public keys."""

    def find(self, kid: str | None, algorithm: str) -> Key:
        """Return the key with an id; without an id, the only key.

        :raises ~joserfc.errors.InvalidKeyIdError: When there is no such key.
        :raises KeysUnavailableException: When the keys cannot be fetched now.
        """


class PinnedKeys:
    """Keys from the configuration: a PEM public key, a JWK or a JWKS.

    :raises ValueError: When the text is none of these, or has a key that cannot be used.
    """

    def __init__(self, text: str) -> None:
        try:
            is_json = text.lstrip().startswith("{")
            found = _of_document(json.loads(text)) if is_json else [_pem(text)]
            for key in found:
                algorithm_of(key)
        except UnfitKeyError:
            raise
        except Exception:  # joserfc and cryptography raise many kinds
            raise ValueError(f"this is no public key (PEM, JWK, JWKS): taken are {TAKEN}") from None
        if not found:
            raise ValueError(f"it holds no public key for signatures: taken are {TAKEN}")
        self._keys = KeySet(found)

    def find(self, kid: str | None, algorithm: str) -> Key:
        """Return the key with an id; a single pinned key is found whatever the id."""
        return _find(self._keys, kid if len(self._keys.keys) > 1 else None, algorithm)


class FetchedKeys:
    """Keys of a JWKS URL, which are kept, and fetched again when an id is not among them.

    At most one thread fetches at a time. Known keys are used during a fetch, and up to
    :data:`KEPT` while the issuer does not answer.

    :param floor: Least seconds between two fetches, so that invented ids cannot cause many.
    :param fetch: Returns the document; any exception is a failure.
    :param clock: Returns seconds, monotonic.
    :param waiting_room: The worker slots in which requests of all instances wait for a fetch;
        further ones are answered 503.
    :param failures: Where failures are noted.
    """

    def __init__(
        self,
        url: str,
        *,
        floor: float,
        fetch: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = time.monotonic,
        waiting_room: WorkerSlots = KEYS,
        failures: Failures | None = None,
    ) -> None:
        self._url = url
        self._floor = floor
        self._fetch = fetch or fetched
        self._clock = clock
        self._known: tuple[KeySet, float] | None = None
        self._tried = -1e9
        self._lock = threading.Lock()
        self._fetching: threading.Event | None = None
        self._waiting_room = waiting_room
        self._failures = failures or Failures("default", "they are asked for again")

    def find(self, kid: str | None, algorithm: str) -> Key:
        """Return the key with an id, from the keys that are known if it is among them."""
        known = self._known
        age = self._clock() - known[1] if known else KEPT
        if known is None or age >= KEPT:
            return _find(self._awaited(), kid, algorithm)
        if age >= MAX_AGE:
            fetching, is_new = self._begun()
            if fetching is not None and is_new:  # only the request that began it waits
                fetching.wait(GRACE)
            known = self._known or known
        try:
            return _find(known[0], kid, algorithm)
        except InvalidKeyIdError:
            if self._fetching is None and self._clock() - self._tried < self._floor:
                raise
        return _find(self._awaited(), kid, algorithm)

    def _awaited(self) -> KeySet:
        """Wait for the fetch that is under way, or that is due now, and return the keys.

        :raises KeysUnavailableException: When no slot to wait is free, or the fetch fails.
        """
        with self._waiting_room.place() as may_wait:
            if not may_wait:
                raise KeysUnavailableException(retry_after=1)
            fetching, _ = self._begun()
            if fetching is not None and not fetching.wait(LONGEST_WAIT):
                raise KeysUnavailableException(retry_after=1)
        known = self._known
        if known is None or self._clock() - known[1] >= KEPT:
            raise KeysUnavailableException(retry_after=max(1, int(self._floor)))
        return known[0]

    def _begun(self) -> tuple[threading.Event | None, bool]:
        """Begin a fetch, unless one is under way.

        Returns the event that is set when the fetch ends, and whether this call began it. The event
        is None if it is too early for another fetch.
        """
        with self._lock:
            if self._fetching is not None:
                return self._fetching, False
            if self._clock() - self._tried < self._floor:
                return None, False
            self._tried = self._clock()
            self._fetching = ended = threading.Event()
            thread = threading.Thread(
                target=self._try, args=(ended,), name="keys of an issuer", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # the system has no further thread
                self._fetching = None
                self._failures.note(JOB, error)
                return None, False
            return ended, True

    def _try(self, ended: threading.Event) -> None:
        try:
            found = _usable(json.loads(self._fetch(self._url)))
            self._known = KeySet(found), self._clock()
            self._failures.over(JOB)
        except Exception as error:  # an issuer may send anything
            # Texts of other exceptions come from libraries, and may contain what was sent.
            why = str(error) if isinstance(error, OSError | NoKeysError) else ""
            why = why[:200] or f"it is no JWK set ({type(error).__name__})"
            self._failures.note(JOB, f"the keys at {self._url} cannot be had: {why}")
        finally:
            with self._lock:
                self._fetching = None
            ended.set()


class NoKeysError(ValueError):
    """A document has no usable key. The text contains nothing of the document."""


def fetched(url: str) -> bytes:
    """Return the document at a URL. Redirects are not followed.

    :raises OSError: When it cannot be fetched in :data:`TIMEOUT`, or is over :data:`MAX_SIZE`.
    """
    return fetched_within(url, seconds=TIMEOUT, most=MAX_SIZE)


def _find(keys: KeySet, kid: str | None, algorithm: str) -> Key:
    parameters: KeyParameters = {"alg": algorithm, "use": "sig"}
    return keys.get_by_kid(kid, parameters if kid is not None else None)


def _pem(text: str) -> Key:
    if "PUBLIC KEY" not in text:
        raise ValueError("a PEM public key begins with -----BEGIN PUBLIC KEY-----")
    last: Exception = ValueError("no key")
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            return kind.import_key(text)
        except Exception as error:
            last = error
    raise last


def _usable(document: Any) -> list[Key]:
    """Return the usable keys of an issuer's document, and ignore the others (RFC 7517 §5).

    :raises NoKeysError: When there is none.
    """
    found, unfit = [], []
    for each in _listed(document):
        try:
            key = _public(each)
            if key is not None:
                algorithm_of(key)
                found.append(key)
        except UnfitKeyError as error:
            unfit.append(str(error))
        except Exception:  # a key that cannot be read does not affect the others
            unfit.append("one cannot be read")
    if not found:
        raise NoKeysError("; ".join(["it holds no public key for signatures", *unfit[:3]]))
    return found


def _of_document(document: Any) -> list[Key]:
    """Return the public keys for signatures of a JWKS or JWK; unknown kinds are left out."""
    return [key for each in _listed(document) if (key := _public(each)) is not None]


def _listed(document: Any) -> list[Any]:
    if not isinstance(document, dict):
        raise NoKeysError("it is no JWK set")
    listed = document.get("keys", [document])
    if not isinstance(listed, list):
        raise NoKeysError("it is no JWK set")
    return listed


def _public(jwk: Any) -> Key | None:
    if jwk.get("kty") not in ("RSA", "EC", "OKP") or jwk.get("use") == "enc":
        return None  # with a symmetric key, anybody who can read the document could sign
    return import_key({name: value for name, value in jwk.items() if name not in _PRIVATE})


_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "key_ops"})
