"""Tokens in a file that a secrets agent or an orchestrator rotates."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kong_scim.access.digests import digest

log = logging.getLogger(__name__)

MAX_AGE = 1.0
"""In seconds: the longest time that what was read counts without another look into the file. Two
changes within one tick of the kernel's clock have the same time stamps."""

MAX_SIZE = 64 * 1024
MAX_TOKENS = 8
"""Lines of a file that count."""


class TokenFile:
    """The tokens of a file, one a line, as they are now.

    The file is to be replaced by renaming another one into its place, as agents and Kubernetes do:
    one that is written in place is empty for a moment, and lets nobody in.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, ...], float] | None = None
        self._digests: tuple[bytes, ...] = ()
        self._failure: str | None = None

    def digests(self) -> tuple[bytes, ...]:
        """Return the digests of the tokens; of a file that cannot be read, none."""
        with self._lock:
            try:
                state = os.stat(self._path)
                mark = (state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_size)
                now = self._clock()
                if self._seen is None or self._seen[0] != mark or now - self._seen[1] >= MAX_AGE:
                    self._digests = _read(self._path)
                    self._seen = (mark, now)
                self._failure = None
            except OSError as error:
                self._seen, self._digests = None, ()
                if self._failure != error.strerror:
                    self._failure = error.strerror
                    log.error("token file %s: %s", self._path, error.strerror)  # noqa: TRY400
            return self._digests


def _read(path: Path) -> tuple[bytes, ...]:
    with path.open("rb") as file:
        lines = file.read(MAX_SIZE).decode("utf-8", "surrogateescape").splitlines()
    return tuple(digest(line) for line in lines if line.strip())[:MAX_TOKENS]
