"""Limits how much processor time one request may take, and lets it give way to urgent ones.

Python runs one thread at a time, so a request that computes for seconds slows down all others. Code
that may take long calls :func:`check` in its loop. That call raises when the request's time is
used up, and waits while an urgent request runs. Code that must come to an end, such as the planning
of a commit, calls :func:`give_way`, which only waits. A request is never interrupted elsewhere, so
nothing stops it between its last check and its commit.

Of the requests that are not urgent, one computes at a time, and the others wait. More would not
finish sooner, and an urgent thread would have to compete with all of them for Python's interpreter
lock. A request that waits for something else, such as the database, gives its slot back meanwhile
(:func:`waiting`).
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
"""Seconds that one request gives way to urgent ones at most, in total."""

SLOTS = 1
"""How many requests that are not urgent compute at a time."""

TURN = 0.02
"""Seconds after which a request hands its slot to a waiting one, at its next check."""

LONGEST_WAIT = 5.0
"""Seconds after which a request computes without a slot, so that none waits for ever."""


class CpuSpentError(Exception):
    """The request took more processor time than it may.

    :param seconds: The processor time that it was allowed.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"more than {seconds:g} s of a processor")
        self.seconds = seconds


@dataclass
class _Allowance:
    """The processor time that a request may still take.

    :param seconds: The processor time that it was allowed in the first place.
    :param until: The value of the thread's CPU clock at which the time is used up.
    :param gives_way: Whether it needs a slot, and pauses for urgent requests.
    :param patience: For how many seconds it may still be made to pause.
    :param slot: When it got the slot that it holds, or None without a slot.
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
        """Whether a request waits for a slot."""
        return bool(self._queue)

    def take(self) -> bool:
        """Wait for a slot; return False after :data:`LONGEST_WAIT` without one."""
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
        return True  # the slot was handed over right after the timeout

    def give(self) -> None:
        """Give a slot back, to the request that waits for longest if there is one."""
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
    """Make other requests give way while the block runs."""
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
    """Allow the block this much processor time. The block must stay in this thread.

    :param seconds: Of processor time.
    :param gives_way: Whether the block pauses for urgent requests.
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
    """Let other requests compute while the block waits for something else.

    :param gives_way: Whether the block pauses for urgent requests. It must not while it holds a
        lock that urgent requests need.
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
    """Tell whether this request is urgent, so that it gives way to no other."""
    allowance = _allowance.get()
    return allowance is not None and not allowance.gives_way


def renew() -> None:
    """Allow the same time again, after a commit: a committed write must not be answered by 413."""
    found = _allowance.get()
    if found is not None:
        found.until = time.thread_time() + found.seconds


def check() -> None:
    """Return if the request has processor time left; first pause while an urgent request runs.

    :raises CpuSpentError: When the time is used up.
    """
    found = _allowance.get()
    if found is not None and time.thread_time() > found.until:
        raise CpuSpentError(found.seconds)
    give_way()


def give_way() -> None:
    """Pause while an urgent request runs, or another one waits that has not had its turn."""
    found = _allowance.get()
    if found is None or not found.gives_way:  # the tick, or a test; or an urgent request
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
    """Wait until no urgent request runs, and then for a slot."""
    if not allowance.gives_way:
        return
    if _urgent and allowance.patience > 0:
        began = time.monotonic()
        with _changed:
            _changed.wait_for(lambda: not _urgent, allowance.patience)
        allowance.patience -= time.monotonic() - began
    if _slots.take():
        allowance.slot = time.monotonic()
