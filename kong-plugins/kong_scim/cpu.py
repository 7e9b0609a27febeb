"""Limits how much processor time one request may take, and lets it give way to urgent ones.

Python runs one thread at a time: a request that computes for seconds is seconds that all others
wait for in part. Whatever may go on for long calls :func:`check` between two of its rounds. There
it ends when its time is over, and pauses while something urgent runs. Nothing is interrupted:
between the last check and the commit a request goes on.

Of the requests that are not urgent, one computes at a time, and the others wait. More
would not be done sooner, and each hand-over of Python's interpreter lock to an urgent thread would
wait for all of them. Who waits for something else, such as the database, gives its slot back
meanwhile (:func:`waiting`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

PATIENCE = 1.0
"""In seconds: for how long one request gives way in all, however much is urgent."""

SLOTS = 1
"""Requests that compute at a time."""

TURN = 0.02
"""In seconds: who has held a slot for so long lets another one have it at the next check."""

LONGEST_WAIT = 5.0
"""In seconds: after so long a request computes without a slot, so that none waits for ever."""


class CpuSpentError(Exception):
    """The request took more processor time than it may.

    :param seconds: How much that is.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"more than {seconds:g} s of a processor")
        self.seconds = seconds


@dataclass
class _Allowance:
    """The processor time that a request may still take.

    :param until: The thread's own time at which it is over.
    :param gives_way: Whether it needs a slot, and pauses for what is urgent.
    :param patience: For how long it may yet be made to pause.
    :param slot: When it got the slot that it holds, or None.
    """

    seconds: float
    until: float
    gives_way: bool
    patience: float = PATIENCE
    slot: float | None = None


class _Slots:
    """Slots that are given in the order in which they were asked for."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._queue: deque[threading.Lock] = deque()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for one."""
        return bool(self._queue)

    def take(self) -> bool:
        """Wait for a place; return False after :data:`LONGEST_WAIT` without one."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            gate = threading.Lock()
            gate.acquire()
            self._queue.append(gate)
        if gate.acquire(timeout=LONGEST_WAIT):
            return True
        with self._lock:
            if gate in self._queue:
                self._queue.remove(gate)
                return False
        return True  # it was handed on just now

    def give(self) -> None:
        """Hand a place on."""
        with self._lock:
            if self._queue:
                self._queue.popleft().release()
            else:
                self._free += 1


_allowance: ContextVar[_Allowance | None] = ContextVar("allowance", default=None)
_slots = _Slots(SLOTS)
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
    allowance = _Allowance(seconds, time.thread_time() + seconds, gives_way)
    token = _allowance.set(allowance)
    _go_on(allowance)
    try:
        yield
    finally:
        _give_back(allowance)
        _allowance.reset(token)


@contextmanager
def waiting(*, gives_way: bool = True) -> Iterator[None]:
    """Let others compute while the block waits for something else.

    :param gives_way: Whether the block pauses for what is urgent. What holds a lock that urgent
        requests need next must not.
    """
    allowance = _allowance.get()
    if allowance is None or not allowance.gives_way:
        yield
        return
    _give_back(allowance)
    allowance.gives_way = gives_way
    try:
        yield
    finally:
        allowance.gives_way = True
        _go_on(allowance)


def is_urgent() -> bool:
    """Tell whether this is a request that gives way to nobody."""
    allowance = _allowance.get()
    return allowance is not None and not allowance.gives_way


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
    if not found.gives_way:
        return
    held_long = found.slot is not None and time.monotonic() - found.slot > TURN
    if (_urgent and found.patience > 0) or (held_long and _slots.wanted):
        _give_back(found)
        _go_on(found)


def _give_back(allowance: _Allowance) -> None:
    if allowance.slot is not None:
        allowance.slot = None
        _slots.give()


def _go_on(allowance: _Allowance) -> None:
    """Wait until nothing is urgent, and for a slot."""
    if not allowance.gives_way:
        return
    if _urgent and allowance.patience > 0:
        began = time.monotonic()
        with _changed:
            _changed.wait_for(lambda: not _urgent, allowance.patience)
        allowance.patience -= time.monotonic() - began
    if _slots.take():
        allowance.slot = time.monotonic()
