"""Gives the turn to write to one process of the plugin server at a time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_FILE = "turn"

_TURN, _NEXT = 0, 1
"""The bytes of the file that are locked: for the turn, and for waiting to be the next."""

POLL = 0.001
"""Seconds between two attempts to lock."""


class TurnFile:
    """The turn of one process, for one of its threads at a time.

    The turn is a record lock, which ends with its process. A process that waits for the turn holds
    another lock, so that it is the next, however often the one that has the turn asks again. So a
    process waits for one turn of each other process at most.

    :param directory: The directory of the locked file, which is created if it is missing.
    """

    def __init__(self, directory: Path) -> None:
        # The only descriptor of this file: closing any would release this process's locks.
        self._file = os.open(directory / _FILE, os.O_WRONLY | os.O_CREAT, 0o600)

    def take(self, deadline: float) -> bool:
        """Wait for the turn; return False if other processes have it until the deadline.

        :param deadline: In seconds of the monotonic clock.
        """
        if not self._lock(_NEXT, deadline):
            return False
        try:
            return self._lock(_TURN, deadline)
        finally:
            self._unlock(_NEXT)

    def give(self) -> None:
        """Let the next process have the turn."""
        self._unlock(_TURN)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _lock(self, byte: int, deadline: float) -> bool:
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except (BlockingIOError, PermissionError):  # POSIX allows either
                if time.monotonic() >= deadline:
                    return False
                time.sleep(POLL)
            else:
                return True

    def _unlock(self, byte: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)
