"""How much of a processor one request may take, and when it gives way.

Python runs one thread at a time: a request that computes for seconds is seconds that all others
wait for in part. Whatever may go on for long calls :func:`check` between two of its rounds. There
it ends when its time is over, and pauses while something urgent runs. Nothing is interrupted:
between the last check and the commit a request goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

PATIENCE = 0.5
"""In seconds: for how long one request gives way in all, however much is urgent."""


class CpuSpentError(Exception):
    """The request took more of a processor than it may.

    :param seconds: How much that is.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"more than {seconds:g} s of a processor")
        self.seconds = seconds


@dataclass
class _Allowance:
    """What a request may still take.

    :param until: The thread's own time at which it is over.
    :param patience: For how long it may yet be made to pause.
    """

    seconds: float
    until: float
    patience: float = PATIENCE


_allowance: ContextVar[_Allowance | None] = ContextVar("allowance", default=None)
_changed = threading.Condition()
_urgent = 0


@contextmanager
def urgent() -> Iterator[None]:
    """Have others give way for the time of the block."""
    global _urgent  # noqa: PLW0603 - of the whole process, as its one interpreter lock is
    with _changed:
        _urgent += 1
    try:
        yield
    finally:
        with _changed:
            _urgent -= 1
            if not _urgent:
                _changed.notify_all()


@contextmanager
def allowed(seconds: float, *, gives_way: bool = True) -> Iterator[None]:
    """Allow the block, which stays in this thread, so much.

    :param gives_way: Whether it pauses for what is urgent.
    """
    patience = PATIENCE if gives_way else 0.0
    token = _allowance.set(_Allowance(seconds, time.thread_time() + seconds, patience))
    try:
        yield
    finally:
        _allowance.reset(token)


def renew() -> None:
    """Allow as much again: what was done is committed, and must not be answered as refused."""
    found = _allowance.get()
    if found is not None:
        found.until = time.thread_time() + found.seconds


def check() -> None:
    """Return if there is time left; pause before that while something urgent runs.

    :raises CpuSpentError: When it is over.
    """
    found = _allowance.get()
    if found is None:  # the tick, or a test
        return
    if time.thread_time() > found.until:
        raise CpuSpentError(found.seconds)
    if _urgent and found.patience > 0:
        began = time.monotonic()
        with _changed:
            _changed.wait_for(lambda: not _urgent, found.patience)
        found.patience -= time.monotonic() - began
