"""Limits how many wrong credentials one address may send, and how many requests one token.

Counts are shared by all processes of the plugin server: each of Kong's workers has its own instance
of the plugin, and an attacker's connections reach all of them.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections.abc import Callable, Hashable

from kong_scim.shared_table import SharedTable

WINDOW = 60.0
"""Seconds for which wrong credentials of an address are counted, from the first one on."""

BURST = 10.0
"""A token may send as many requests at once as its limit allows in this many seconds."""

LONGEST_DELAY = 0.5
"""Seconds that the answer to wrong credentials is delayed at most."""

MAX_ENTRIES = 10_000
"""Entries of each table. An attack from many addresses takes no more memory than that."""


class RateLimits:
    """Counts requests and wrong credentials. Many threads and processes may call every method
    at once.

    :param clock: Returns seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = SharedTable(MAX_ENTRIES, clock)  # when the window began, and the count
        self._buckets = SharedTable(MAX_ENTRIES, clock)  # the level, and when it was measured
        self._sleeping = threading.Lock()

    def blocked(self, source: Hashable, limit: int) -> int | None:
        """Return for how many seconds a source is refused, or None if it is not.

        :param limit: The number of wrong credentials within :data:`WINDOW` from which on a source
            is refused; 0 for no limit.
        """
        with self._failures.locked():
            started, count = self._current(source)
            if not limit or count < limit:
                return None
            return max(1, math.ceil(started + WINDOW - self._clock()))

    def failed(self, source: Hashable, limit: int) -> float:
        """Count wrong credentials, and return by how many seconds to delay the answer."""
        with self._failures.locked():
            started, count = self._current(source)
            self._failures.put(source, started, count + 1)
        over = int(count) + 1 - limit // 2
        return min(LONGEST_DELAY, 0.05 * 2**over) if limit and over > 0 else 0.0

    def slow_down(self, seconds: float) -> None:
        """Sleep, unless another answer of this process does already: at most one worker may."""
        if seconds and self._sleeping.acquire(blocking=False):
            try:
                time.sleep(seconds)
            finally:
                self._sleeping.release()

    def over_limit(self, token: Hashable, per_minute: int) -> int | None:
        """Count a request; return for how many seconds it is refused, or None if it is not.

        This is a token bucket, which holds the requests of :data:`BURST` seconds.

        :param per_minute: The limit in requests a minute; 0 for no limit.
        """
        if not per_minute:
            return None
        rate = per_minute / 60
        now = self._clock()
        with self._buckets.locked():
            level, since = self._buckets.get(token) or (max(1.0, rate * BURST), now)
            level = min(max(1.0, rate * BURST), level + (now - since) * rate)
            if level < 1:
                self._buckets.put(token, level, now)
                return max(1, math.ceil((1 - level) / rate))
            self._buckets.put(token, level - 1, now)
            return None

    def _current(self, source: Hashable) -> tuple[float, float]:
        now = self._clock()
        started, count = self._failures.get(source) or (now, 0)
        return (now, 0) if now - started >= WINDOW else (started, count)


def network_of(client_ip: str) -> str:
    """Return the source that an address counts for: an IPv4 address itself, an IPv6 address's
    /64."""
    try:
        address = ipaddress.ip_address(client_ip)
    except ValueError:
        return client_ip
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


RATE_LIMITS = RateLimits()
"""The limits of this plugin server, which all instances in all processes share."""
