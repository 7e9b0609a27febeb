"""Files with secrets that an agent or an orchestrator rotates."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_AGE = 1.0
"""In seconds: the longest time that what was read counts without another look into the file. Two
changes within one tick of the kernel's clock have the same time stamps."""

MAX_SIZE = 64 * 1024
"""Bytes of a file that are read."""


class WatchedFile(Generic[T]):
    """What a file says, as it is now.

    The file is to be replaced by renaming another one into its place, as agents and Kubernetes do:
    one that is written in place is empty for a moment.

    :param what: What logs call it.
    :param read: Makes of its text what is wanted; what is no UTF-8 in it is escaped.
    :param clock: Seconds that only go forward.
    """

    def __init__(
        self,
        path: str,
        what: str,
        read: Callable[[str], T],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = Path(path)
        self._what = what
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, ...], float] | None = None
        self._found: T | None = None
        self._failure: str | None = None

    def get(self) -> T | None:
        """Return it, or None where the file cannot be read, which is logged once."""
        with self._lock:
            try:
                state = os.stat(self._path)
                mark = (state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_size)
                now = self._clock()
                if self._seen is None or self._seen[0] != mark or now - self._seen[1] >= MAX_AGE:
                    with self._path.open("rb") as file:
                        text = file.read(MAX_SIZE).decode("utf-8", "surrogateescape")
                    self._found, self._seen = self._read(text), (mark, now)
                self._failure = None
            except OSError as error:
                self._seen = self._found = None
                if self._failure != error.strerror:
                    self._failure = error.strerror
                    log.error("%s %s: %s", self._what, self._path, error.strerror)  # noqa: TRY400
            return self._found
