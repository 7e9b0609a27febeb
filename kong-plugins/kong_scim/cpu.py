"""How much of a processor one request may take.

Python runs one thread at a time: a request that computes for seconds is seconds that all others
wait for in part. Whatever may go on for long calls :func:`check` between two of its rounds. Nothing
is interrupted: between the last check and the commit a request goes on.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

_allowance: ContextVar[tuple[float, float] | None] = ContextVar("allowance", default=None)
"""The seconds that are allowed, and the thread's own time at which they are over."""


class CpuSpentError(Exception):
    """The request took more of a processor than it may.

    :param seconds: How much that is.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"more than {seconds:g} s of a processor")
        self.seconds = seconds


def allow(seconds: float) -> None:
    """Allow so much from now on, in this thread and for the context at hand."""
    _allowance.set((seconds, time.thread_time() + seconds))


def renew() -> None:
    """Allow as much again: what was done is committed, and must not be answered as refused."""
    found = _allowance.get()
    if found is not None:
        allow(found[0])


def check() -> None:
    """Return if there is time left.

    :raises CpuSpentError: When it is over.
    """
    found = _allowance.get()
    if found is not None and time.thread_time() > found[1]:
        raise CpuSpentError(found[0])
