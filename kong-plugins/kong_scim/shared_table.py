"""A table in memory that all processes of a plugin server share.

The memory is allocated before the processes are started, and they inherit it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

_ENTRY = struct.Struct("16sddd")
"""An entry: the digest of its key, its two numbers, and when it was written. An unused entry is
zeros."""

_ROW = 8
"""Entries of a row. The digest of a key says which row it is in."""

_ROW_SIZE = _ROW * _ENTRY.size


class SharedTable:
    """A map to pairs of numbers, with a limited number of entries.

    A key is a text, or a tuple of texts. It is stored as a digest with a random key, so nobody can
    choose keys that share a row.

    :param entries: How many entries there are at most. A new one takes the place of the one in its
        row that was written least recently.
    :param clock: Returns seconds of a clock that all processes share.
    """

    def __init__(self, entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows = max(1, entries // _ROW)
        self._clock = clock
        self._key = secrets.token_bytes(16)
        self._memory = mmap.mmap(-1, self._rows * _ROW_SIZE)
        self._threads = threading.Lock()
        self._lock = _file_to_lock()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other threads and processes. The lock ends with the process that holds it."""
        with self._threads:
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def __len__(self) -> int:
        return sum(written > 0 for *_, written in _ENTRY.iter_unpack(self._memory))

    def get(self, key: Hashable) -> tuple[float, float] | None:
        """Return the numbers of a key, or None if it has no entry. Call it :meth:`locked`."""
        digest, row = self._place(key)
        offset = self._find(digest, row)
        if offset < 0:
            return None
        _, first, second, _ = _ENTRY.unpack_from(self._memory, offset)
        return first, second

    def put(self, key: Hashable, first: float, second: float) -> None:
        """Set the numbers of a key. Call it :meth:`locked`."""
        digest, row = self._place(key)
        offset = self._find(digest, row)
        if offset < 0:
            offset = min(
                range(row, row + _ROW_SIZE, _ENTRY.size),
                key=lambda each: _ENTRY.unpack_from(self._memory, each)[3],
            )
        _ENTRY.pack_into(self._memory, offset, digest, first, second, self._clock())

    def _place(self, key: Hashable) -> tuple[bytes, int]:
        """Return the digest of a key, and the offset of its row."""
        text = repr(key).encode("utf-8", "surrogateescape")
        digest = blake2b(text, digest_size=16, key=self._key).digest()
        return digest, int.from_bytes(digest[:8], "big") % self._rows * _ROW_SIZE

    def _find(self, digest: bytes, row: int) -> int:
        """Return the offset of the entry with a digest, or -1."""
        return self._memory.find(digest, row, row + _ROW_SIZE)


def _file_to_lock() -> int:
    """Return the descriptor of a file without a name. Record locks need one, and end with their
    process, whereas a semaphore would stay taken."""
    if hasattr(os, "memfd_create"):  # also where no directory can be written
        return os.memfd_create("kong-scim")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
