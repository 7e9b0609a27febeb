"""Limits how many workers may wait for the same thing, and how much memory large bodies may take.

Some requests wait for what may not come for seconds: an event, an issuer's keys. Were all workers
to do so, nothing else would be served, so each kind of wait has a quarter of them, and whoever
comes when those are taken is answered without waiting.

Large request bodies are held in memory until they are answered. All of them together may have so
many bytes; whoever comes with more is asked to come again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 4
"""One worker in so many may be held by one kind of wait."""

_DEFAULT_WORKERS = 16


class WorkerSlots:
    """Slots for one kind of wait, shared by everything in this process.

    :param least: How many there are however few workers; with 0 nobody waits then.
    """

    def __init__(self, *, least: int, workers: int = _DEFAULT_WORKERS) -> None:
        self._least = least
        self._lock = threading.Lock()
        self._taken = 0
        self.furnish(workers)

    def furnish(self, workers: int) -> None:
        """Say how many workers there are."""
        self.places = max(self._least, workers // SHARE)

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Take a place for the time of the block; False where there is none left."""
        with self._lock:
            found = self._taken < self.places
            self._taken += found
        try:
            yield found
        finally:
            with self._lock:
                self._taken -= found


ORDINARY = 1024 * 1024
"""Bytes of a body that is let in however many large ones there are: each worker holds one body at a
time, so that a deactivation is never refused for the sake of somebody's import."""

BODIES = 64
"""MiB of bodies larger than :data:`ORDINARY`, all together, where nobody says otherwise."""


class BodyMemory:
    """Bytes of large request bodies that this process may hold at once.

    :ivar capacity: In bytes: all of them together. A body above it never fits.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = threading.Lock()
        self._held = 0

    @contextmanager
    def hold(self, size: int) -> Iterator[bool]:
        """Hold a body for the time of the block; False where it does not fit beside the others."""
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
"""For the bodies of requests whose senders were let in."""

POLLS = WorkerSlots(least=0)
"""For an event, at ``/Events/poll``."""

KEYS = WorkerSlots(least=1)
"""For an issuer's keys."""

KONG = WorkerSlots(least=1)
"""For a DB-less Kong that is being given its consumers again."""


def furnish(workers: int, bodies: int = BODIES) -> None:
    """Say how many workers the plugin server has, and how many MiB of large bodies it may hold."""
    for slots in (POLLS, KEYS, KONG):
        slots.furnish(workers)
    MEMORY.capacity = bodies * 1024 * 1024
