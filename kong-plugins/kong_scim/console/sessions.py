"""Sessions of browsers: a one-time link begins one, and a cookie with a key continues it.

A browser sends a cookie of ``127.0.0.1`` to every port there, so that another program on this
machine may see it. Therefore a session also has a key, which the page keeps in its own storage and
sends in a header: storage and headers are of one port only.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

LONGEST = 12 * 3600.0
"""Seconds after which a session ends."""

MOST = 16
"""Sessions at the same time; one more ends the oldest."""


class Sessions:
    """The sessions of one console. Only digests of secrets are kept.

    :param clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = b""
        self._sessions: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    def new_secret(self) -> str:
        """Return the secret that begins the next session, and forget the one before it."""
        secret = secrets.token_urlsafe(32)
        self._secret = _digest(secret)
        return secret

    def begin(self, secret: str) -> tuple[str, str] | None:
        """Return the cookie and the key of a new session, or None if the secret is not valid.

        A secret is valid once.
        """
        if not self._secret or not hmac.compare_digest(self._secret, _digest(secret)):
            return None
        self._secret = b""
        cookie, key = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._sessions[_digest(cookie)] = (_digest(key), self._clock() + LONGEST)
        while len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return cookie, key

    def has(self, cookie: str, key: str) -> bool:
        """Tell whether cookie and key are those of a session that has not ended."""
        known, ends = self._sessions.get(_digest(cookie), (b"", 0.0))
        return bool(known) and ends > self._clock() and hmac.compare_digest(known, _digest(key))

    def end(self, cookie: str) -> None:
        """End the session with this cookie."""
        self._sessions.pop(_digest(cookie), None)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
