"""Limits how many workers may wait for the same thing, and how much memory large bodies may take.

Some requests wait for seconds, for an event or an issuer's keys. If all workers did so, nothing
else would be served. So each kind of wait may hold a quarter of the workers, and further requests
are answered without waiting.

Large request bodies are held in memory until they are answered. Their total size is limited, and a
request that would exceed it is answered 503.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 4
"""One kind of wait may hold one in this many workers."""

_DEFAULT_WORKERS = 16


class WorkerSlots:
    """The worker slots for one kind of wait, shared by the whole process.

    :param least: How many slots there are at least, however few workers there are. With 0 and few
        workers, no request waits.
    """

    def __init__(self, *, least: int, workers: int = _DEFAULT_WORKERS) -> None:
        self._least = least
        self._lock = threading.Lock()
        self._taken = 0
        self.furnish(workers)

    def furnish(self, workers: int) -> None:
        """Set the number of slots for this many workers."""
        self.places = max(self._least, workers // SHARE)

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Hold a slot while the block runs; yield False if none was free."""
        with self._lock:
            found = self._taken < self.places
            self._taken += found
        try:
            yield found
        finally:
            with self._lock:
                self._taken -= found


ORDINARY = 1024 * 1024
"""Bytes up to which a body is not counted, so that somebody's import never makes a deactivation be
refused. Such bodies need no limit, since each worker holds one body at a time."""

BODIES = 64
"""MiB that all bodies larger than :data:`ORDINARY` may have together, by default."""


class BodyMemory:
    """The memory that this process may use for large request bodies.

    :ivar capacity: In bytes, for all of them together. A larger body never fits.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = threading.Lock()
        self._held = 0

    @contextmanager
    def hold(self, size: int) -> Iterator[bool]:
        """Hold a body of ``size`` bytes while the block runs; yield False if it does not fit."""
        counted = size if size > ORDINARY else 0
        with self._lock:
            fits = not counted or self._held + counted <= self.capacity
            self._held += counted if fits else 0
        try:
            yield fits
        finally:
            with self._lock:
                self._held -= counted if fits else 0


MEMORY = BodyMemory(BODIES * 1024 * 1024)
"""The memory for bodies of authenticated requests."""

POLLS = WorkerSlots(least=0)
"""The slots to wait for an event, at ``/Events/poll``."""

KEYS = WorkerSlots(least=1)
"""The slots to wait for an issuer's keys."""

KONG = WorkerSlots(least=1)
"""The slots to wait for a reapplication to a DB-less Kong."""


def furnish(workers: int, bodies: int = BODIES) -> None:
    """Set the limits for this many workers, and for this many MiB of large bodies."""
    for slots in (POLLS, KEYS, KONG):
        slots.furnish(workers)
    MEMORY.capacity = bodies * 1024 * 1024
