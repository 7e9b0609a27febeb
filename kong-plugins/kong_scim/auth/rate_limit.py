"""Limits how many wrong credentials one address may send, and how many requests one token.

What is counted is counted once for the whole plugin server: Kong's workers have an instance of
the plugin each, and an attacker's connections reach all of them.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

WINDOW = 60.0
"""In seconds: how long wrong credentials of an address count, from the first one on."""

BURST = 10.0
"""In seconds: whose worth of requests a token may send at once."""

LONGEST_DELAY = 0.5
"""In seconds."""

MAX_ENTRIES = 10_000
"""Of each table. The least recently used goes first: an attack from many addresses takes a bounded
amount of memory."""

T = TypeVar("T")


class _Table(Generic[T]):
    """A map that holds a limited number of entries."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> T | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: Hashable, entry: T) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)


class RateLimits:
    """Counts requests and wrong credentials. Every method may be called by many threads at once.

    :param clock: In seconds, from anywhere on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: _Table[tuple[float, int]] = _Table()
        self._buckets: _Table[tuple[float, float]] = _Table()
        self._sleeping = threading.Lock()

    def blocked(self, source: Hashable, limit: int) -> int | None:
        """Return for how many seconds a source is refused, or None where it is not.

        :param limit: Wrong credentials within :data:`WINDOW` that are too many; 0 for no limit.
        """
        with self._lock:
            started, count = self._current(source)
            if not limit or count < limit:
                return None
            return max(1, math.ceil(started + WINDOW - self._clock()))

    def failed(self, source: Hashable, limit: int) -> float:
        """Count wrong credentials, and return for how many seconds their answer should wait."""
        with self._lock:
            started, count = self._current(source)
            self._failures.put(source, (started, count + 1))
        over = count + 1 - limit // 2
        return min(LONGEST_DELAY, 0.05 * 2**over) if limit and over > 0 else 0.0

    def slow_down(self, seconds: float) -> None:
        """Wait, unless another answer waits already: of all workers one at most may be asleep."""
        if seconds and self._sleeping.acquire(blocking=False):
            try:
                time.sleep(seconds)
            finally:
                self._sleeping.release()

    def over_limit(self, token: Hashable, per_minute: int) -> int | None:
        """Count a request; return for how many seconds it is refused, or None where it is not.

        A bucket that fills steadily and holds :data:`BURST` seconds' worth.

        :param per_minute: Requests; 0 for no limit.
        """
        if not per_minute:
            return None
        rate = per_minute / 60
        now = self._clock()
        with self._lock:
            level, since = self._buckets.get(token) or (max(1.0, rate * BURST), now)
            level = min(max(1.0, rate * BURST), level + (now - since) * rate)
            if level < 1:
                self._buckets.put(token, (level, now))
                return max(1, math.ceil((1 - level) / rate))
            self._buckets.put(token, (level - 1, now))
            return None

    def _current(self, source: Hashable) -> tuple[float, int]:
        now = self._clock()
        started, count = self._failures.get(source) or (now, 0)
        return (now, 0) if now - started >= WINDOW else (started, count)


def network_of(client_ip: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 that an IPv6 host is given."""
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
"""Of this process."""
