"""Caches and a dictionary that all threads of the sandbox share, as the workers of one Kong do."""

from __future__ import annotations

import math
import time
from collections import deque
from threading import RLock


class Caches:
    """Stands for ``kong.cache`` and ``kong.core_cache``: JSON texts by cache and key.

    A :meth:`get` that finds nothing locks all caches until the :meth:`put` that follows. So a text
    that is dropped after a COMMIT is not put back by a thread that read before the COMMIT.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._texts: dict[tuple[str, str], tuple[float, str]] = {}

    def get(self, cache: str, key: str) -> str | None:
        """Return a cached text; or None, and keep all caches locked until :meth:`put`."""
        self._lock.acquire()
        ends, text = self._texts.get((cache, key), (0.0, ""))
        if ends <= time.monotonic():
            return None
        self._lock.release()
        return text

    def put(self, cache: str, key: str, text: str | None, ttl: float | None = None) -> None:
        """Cache a text, unless it is None, and unlock the caches.

        :param ttl: The time to live in seconds; 0 or None for no limit.
        """
        if text is not None:
            self._texts[cache, key] = (time.monotonic() + ttl if ttl else math.inf, text)
        self._lock.release()

    def drop(self, cache: str, key: str | None = None) -> None:
        """Delete one text, or all texts of a cache."""
        with self._lock:
            for found in [(cache, key)] if key is not None else [*self._texts]:
                if found[0] == cache:
                    self._texts.pop((cache, str(found[1])), None)

    def clear(self) -> None:
        """Delete all texts of all caches."""
        with self._lock:
            self._texts.clear()


class SharedDictionary:
    """Stands for ``ngx.shared.kong``, whose entries may have a time to live."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._values: dict[str, tuple[float, object]] = {}
        self._lists: dict[str, deque[object]] = {}

    def get(self, key: str) -> object:
        """Return a value, or None."""
        with self._lock:
            ends, value = self._values.get(key, (0.0, None))
            if ends > time.monotonic():
                return value
            self._values.pop(key, None)
            return None

    def set(self, key: str, value: object, ttl: float = 0) -> bool:
        """Set a value.

        :param ttl: The time to live in seconds; 0 for no limit.
        """
        with self._lock:
            self._values[key] = (time.monotonic() + ttl if ttl else math.inf, value)
        return True

    def add(self, key: str, value: object, ttl: float = 0) -> bool:
        """Set a value if there is none, and return whether there was none."""
        with self._lock:
            return self.get(key) is None and self.set(key, value, ttl)

    def increase(self, key: str, by: float, start: float = 0, ttl: float = 0) -> float:
        """Add to a number, which is ``start`` if there is none, and return the sum."""
        with self._lock:
            old = self.get(key)
            number = (old if isinstance(old, (int, float)) else start) + by
            self.set(key, number, ttl)
            return number

    def time_left(self, key: str) -> float | None:
        """Return for how many seconds a value is kept, 0 for no limit, or None without a value."""
        with self._lock:
            ends, _ = self._values.get(key, (0.0, None))
            left = ends - time.monotonic()
            return None if left <= 0 else 0 if math.isinf(left) else left

    def expire(self, key: str, ttl: float) -> None:
        """Keep a value for so many seconds from now on; 0 for no limit."""
        with self._lock:
            value = self.get(key)
            if value is not None:
                self.set(key, value, ttl)

    def push(self, key: str, value: object) -> None:
        """Append to a list."""
        with self._lock:
            self._lists.setdefault(key, deque()).append(value)

    def pop(self, key: str) -> object:
        """Take the first value of a list, or None."""
        with self._lock:
            values = self._lists.get(key)
            return values.popleft() if values else None

    def delete(self, key: str) -> None:
        """Delete a value."""
        with self._lock:
            self._values.pop(key, None)
