"""Gives ids to instances and events, which say which process of the plugin server made them."""

from __future__ import annotations

import secrets
from itertools import count

RANDOM = 2**31
"""Ids are counted from a random number below this one. Kong keeps the ids of a server that was
started again: if they began at 0 each time, an old id would reach another configuration's instance,
or another request's event."""


class Ids:
    """The ids that one process gives.

    :param process: The number of this process, from 0.
    :param processes: How many processes there are.
    """

    def __init__(self, process: int = 0, processes: int = 1) -> None:
        self.process = process
        self._processes = processes
        first = secrets.randbelow(RANDOM // processes) * processes + process
        self._ids = count(first, processes)

    def next(self) -> int:
        """Return a new id. Many threads may call this at once."""
        return next(self._ids)

    def process_of(self, given: object) -> int:
        """Return the number of the process that gave an id; for anything else, of this one."""
        return given % self._processes if isinstance(given, int) else self.process
