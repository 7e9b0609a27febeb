"""Who may wait, and hold a worker of the plugin server meanwhile.

Some requests wait for what may not come for seconds: an event, an issuer's keys. Were all workers
to do so, nothing else would be served, so each kind of wait has a quarter of them, and whoever
comes when those are taken is answered without waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 4
"""One worker in so many may wait in a room."""

_DEFAULT_WORKERS = 16


class Room:
    """Places for one kind of wait, shared by everything in this process.

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


POLLS = Room(least=0)
"""For an event, at ``/Events/poll``."""

KEYS = Room(least=1)
"""For an issuer's keys."""

KONG = Room(least=1)
"""For a DB-less Kong that is being given its consumers again."""


def furnish(workers: int) -> None:
    """Say how many workers the plugin server has."""
    for room in (POLLS, KEYS, KONG):
        room.furnish(workers)
