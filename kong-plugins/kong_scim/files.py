"""Reads files with secrets, and reads them again when an agent or an orchestrator rotates them.

Whoever may write such a file, or any directory on the way to it, chooses the secret. So a file
counts only where root and the user of this process are the only ones who may: see :func:`resolved`.
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
"""In seconds: the longest time that what was read counts without another look into the file. Two
changes within one tick of the kernel's clock have the same time stamps."""

MAX_SIZE = 64 * 1024
"""Bytes of a file that are read."""

MAX_LINKS = 40
"""Symbolic links on the way to one file, as in Linux."""

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UntrustedFileError(Exception):
    """Somebody else may change the file, or which file it is. The message says how to mend it."""


def resolved(path: str) -> str:
    """Return the way to a file without symbolic links, if nobody else may change where it leads.

    Each directory, link and file on it must belong to root or to the user of this process, and a
    directory or file must not be writable for group or others. A directory with the sticky bit
    (``/tmp``, a Kubernetes secret volume) may be: there only the owner of an entry can replace it.

    :param path: Absolute.
    :raises UntrustedFileError: Naming what is wrong on the way.
    :raises OSError: Where there is no such file.
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
            # By a second name anybody may have put some other file of ours there.
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

    The file is to be replaced by renaming another one into its place, as agents and Kubernetes do:
    one that is written in place is empty for a moment. One that others may change does not count.

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
        self._path = path
        self._what = what
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, ...], float] | None = None
        self._found: T | None = None
        self._failure: str | None = None

    def get(self) -> T | None:
        """Return it, or None where the file cannot be read or trusted, which is logged once."""
        with self._lock:
            try:
                state = os.stat(self._path)
                mark = (state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_size)
                now = self._clock()
                if self._seen is None or self._seen[0] != mark or now - self._seen[1] >= MAX_AGE:
                    text = self._content().decode("utf-8", "surrogateescape")
                    self._found, self._seen = self._read(text), (mark, now)
                self._failure = None
            except (OSError, UntrustedFileError) as error:
                self._seen = self._found = None
                failure = getattr(error, "strerror", None) or str(error)
                if self._failure != failure:
                    self._failure = failure
                    log.error("%s %s: %s", self._what, self._path, failure)  # noqa: TRY400
            return self._found

    def _content(self) -> bytes:
        try:
            return _read(self._path)
        except FileNotFoundError:
            # Kubernetes puts a new directory into the place of the one that we were looking into.
            return _read(self._path)
