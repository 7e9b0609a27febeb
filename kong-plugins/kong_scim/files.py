"""Reads files with secrets, and reads them again when an agent or an orchestrator rotates them.

Whoever may write such a file, or a directory of its path, can choose the secret. So a file is read
only if nobody but root and the user of this process may write them: see :func:`resolved`.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_AGE = 1.0
"""Seconds after which a file is read again even if its time stamps are the same: two changes within
one tick of the kernel's clock have equal ones."""

MAX_SIZE = 64 * 1024
"""Bytes of a file that are read; the rest is ignored."""

MAX_LINKS = 40
"""Symbolic links that are followed for one path, as in Linux."""

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UntrustedFileError(Exception):
    """Another user may change the file, or replace it. The message says how to mend that."""


def resolved(path: str) -> str:
    """Return the path of a file without symbolic links, if no other user may change where it leads.

    Each directory, link and file of the path must belong to root or to the user of this process,
    and a directory or file must not be writable for group or others. A directory with the sticky
    bit (``/tmp``, a Kubernetes secret volume) may be: there only an entry's owner can replace it.

    :param path: An absolute path.
    :raises UntrustedFileError: If another user may; it names the entry of the path.
    :raises OSError: If there is no such file.
    """
    trusted = {0, os.geteuid()}
    here, links, sticky = "/", 0, False
    left = [".", *path.split("/")][::-1]
    while left:
        name = left.pop()
        if name == "..":
            here = os.path.dirname(here)
            continue
        entry = here if name in ("", ".") else os.path.join(here, name)
        state = os.lstat(entry)
        mode = state.st_mode
        if state.st_uid not in trusted:
            raise UntrustedFileError(
                f"{entry} belongs to user {state.st_uid}, who may change it: give it to root or to "
                f"user {os.geteuid()}"
            )
        if stat.S_ISLNK(mode):
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink(entry)
            here = "/" if target.startswith("/") else here
            left += target.split("/")[::-1]
            continue
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise UntrustedFileError(f"{entry} is no regular file")
        if mode & _BY_OTHERS and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
            raise UntrustedFileError(
                f"others may write {entry} (mode {stat.S_IMODE(mode):04o}): chmod go-w {entry}"
            )
        if sticky and stat.S_ISREG(mode) and state.st_nlink > 1:
            # In such a directory anybody may make a hard link to some other file of ours.
            raise UntrustedFileError(f"{entry} has a second name, in a directory open to others")
        if stat.S_ISDIR(mode):
            sticky = bool(mode & _BY_OTHERS)
        here = entry
    return here


def _read(path: str) -> bytes:
    descriptor = os.open(resolved(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(descriptor, "rb") as file:
        return file.read(MAX_SIZE)


class WatchedFile(Generic[T]):
    """The content of a file, read again when the file changes.

    The file should be replaced by a rename, as agents and Kubernetes do: a file that is written in
    place is empty for a moment. A file that other users may change is not read.

    :param what: The file's name in logs.
    :param read: Makes the content from the file's text; bytes that are not UTF-8 are escaped.
    :param clock: Returns seconds, monotonic.
    """

    def __init__(
        self,
        path: str,
        what: str,
        read: Callable[[str], T],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._what = what
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, ...], float] | None = None
        self._value: T | None = None
        self._failure: str | None = None

    def get(self) -> T | None:
        """Return the content, or None if the file cannot be read or trusted; that is logged
        once."""
        with self._lock:
            try:
                state = os.stat(self._path)
                stamp = (state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_size)
                now = self._clock()
                if self._seen is None or self._seen[0] != stamp or now - self._seen[1] >= MAX_AGE:
                    text = self._content().decode("utf-8", "surrogateescape")
                    self._value, self._seen = self._read(text), (stamp, now)
                self._failure = None
            except (OSError, UntrustedFileError) as error:
                self._seen = self._value = None
                failure = getattr(error, "strerror", None) or str(error)
                if self._failure != failure:
                    self._failure = failure
                    log.error("%s %s: %s", self._what, self._path, failure)  # noqa: TRY400
            return self._value

    def _content(self) -> bytes:
        try:
            return _read(self._path)
        except FileNotFoundError:
            # Kubernetes has just replaced the directory whose path was resolved.
            return _read(self._path)
