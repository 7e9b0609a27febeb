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
"""What :class:`.Failures` calls a fetch."""

MAX_SIZE = 256 * 1024
"""In bytes, of a JWKS document: some hundred keys with their certificates."""

TIMEOUT = 5.0
"""In seconds, of a whole fetch."""

LONGEST_WAIT = TIMEOUT + 1.0
"""In seconds: how long a request waits for a fetch, should looking a name up take longer."""

GRACE = 0.5
"""In seconds: how long the request that begins a fetch of keys past :data:`MAX_AGE` waits for it,
so that a withdrawn key is refused where its issuer answers."""

MAX_AGE = 3600.0
"""In seconds: when keys that are known are fetched again, so that a withdrawn one goes."""

KEPT = 24 * 3600.0
"""In seconds: how long keys count whose issuer cannot be reached any more."""


class Keys(Protocol):
    """A source of public keys by their id."""

    def find(self, kid: str | None, algorithm: str) -> Key:
        """Return the key of an id; without one, the only key there is.

        :raises ~joserfc.errors.InvalidKeyIdError: When there is none.
        :raises KeysUnavailableException: When that cannot be said at this moment.
        """


class PinnedKeys:
    """Keys from the configuration: a PEM public key, a JWK or a JWKS.

    :raises ValueError: When it is none, or holds a private, a symmetric or a weak key.
    """

    def __init__(self, text: str) -> None:
        try:
            is_json = text.lstrip().startswith("{")
            found = _of_document(json.loads(text)) if is_json else [_pem(text)]
            for key in found:
                algorithm_of(key)
        except UnfitKeyError:
            raise
        except Exception:  # joserfc and cryptography raise many kinds, with texts of their own
            raise ValueError(f"this is no public key (PEM, JWK, JWKS): taken are {TAKEN}") from None
        if not found:
            raise ValueError(f"it holds no public key for signatures: taken are {TAKEN}")
        self._keys = KeySet(found)

    def find(self, kid: str | None, algorithm: str) -> Key:
        """Return the key of an id; a single pinned key needs none."""
        return _find(self._keys, kid if len(self._keys.keys) > 1 else None, algorithm)


class FetchedKeys:
    """Keys of a JWKS URL. They are kept, and fetched again for an id that is not among them.

    At most one thread fetches at a time, and no request is held up by an issuer whose keys are
    known: those count on while it is asked, and up to :data:`KEPT` while it does not answer.

    :param floor: In seconds, between two fetches: ids that somebody invents cause no more.
    :param fetch: Returns the document; any exception is a failure.
    :param clock: In seconds, from anywhere on.
    :param waiting_room: Where requests wait for a fetch of any instance of the plugin; more are
        answered 503 and leave their worker to others.
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
        """Return the key of an id, from what was fetched before if it is there."""
        known = self._known
        age = self._clock() - known[1] if known else KEPT
        if known is None or age >= KEPT:
            return _find(self._awaited(), kid, algorithm)
        if age >= MAX_AGE:
            fetching, is_new = self._begun()
            if fetching is not None and is_new:  # only one request waits, and not for long
                fetching.wait(GRACE)
            known = self._known or known
        try:
            return _find(known[0], kid, algorithm)
        except InvalidKeyIdError:
            if self._fetching is None and self._clock() - self._tried < self._floor:
                raise
        return _find(self._awaited(), kid, algorithm)

    def _awaited(self) -> KeySet:
        """Return the keys after a fetch that is under way, or due.

        :raises KeysUnavailableException: When nobody else may wait for it, or there are none then.
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
        """Return the end of the fetch that is under way, and whether it was begun here.

        None where it is too early for one.
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
            except RuntimeError as error:  # there is none to be had
                self._fetching = None
                self._failures.note(JOB, error)
                return None, False
            return ended, True

    def _try(self, ended: threading.Event) -> None:
        try:
            found = _usable(json.loads(self._fetch(self._url)))
            self._known = KeySet(found), self._clock()
            self._failures.over(JOB)
        except Exception as error:  # whatever an issuer sends
            # The texts of these are ours; those of libraries may hold what was sent.
            why = str(error) if isinstance(error, OSError | NoKeysError) else ""
            why = why[:200] or f"it is no JWK set ({type(error).__name__})"
            self._failures.note(JOB, f"the keys at {self._url} cannot be had: {why}")
        finally:
            with self._lock:
                self._fetching = None
            ended.set()


class NoKeysError(ValueError):
    """A document that holds no key to use; the text is ours."""


def fetched(url: str) -> bytes:
    """Return what is at a URL. Redirects are not followed: the URL that was configured counts.

    :raises OSError: When it cannot be had in :data:`TIMEOUT`, or is over :data:`MAX_SIZE`.
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
    """Return what counts of an issuer's document; RFC 7517 §5 has the rest be ignored.

    :raises NoKeysError: When nothing does.
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
        except Exception:  # one that cannot be read keeps no other from counting
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
        return None  # a symmetric key would let who can read the document sign
    return import_key({name: value for name, value in jwk.items() if name not in _PRIVATE})


_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "key_ops"})
