"""How much of a processor this machine gives to whoever wants one, at each moment of a storm."""

from __future__ import annotations

import hashlib
import threading
import time
from statistics import fmean

PAUSE = 0.4
WORK = 0.05
"""Seconds of a processor's time that each measurement takes."""

_BLOCK = bytes(2**20)


class Control:
    """Does a fixed amount of work again and again, and sees how long that takes.

    A request that took long on a machine whose processors others had is no hang.
    """

    def __init__(self) -> None:
        self._stretches: list[tuple[float, float]] = []
        self._began: float | None = None
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control")

    def __enter__(self) -> Control:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def stretch(self, since: float) -> float:
        """Return how many times longer work takes than on a machine with nothing else to do.

        The mean of what was measured since, what takes long at this moment included; 1 or more.

        :param since: As :func:`time.monotonic` has it.
        """
        with self._lock:
            now = time.monotonic()
            under_way = now - self._began if self._began is not None else 0.0
            recent = [stretch for ended, stretch in self._stretches if ended >= since]
        if under_way > WORK:
            recent.append(under_way / WORK)
        return max(1.0, fmean(recent)) if recent else 1.0

    def _run(self) -> None:
        while not self._end.wait(PAUSE):
            with self._lock:
                self._began = began = time.monotonic()
            used = time.thread_time()
            while time.thread_time() - used < WORK:
                hashlib.sha256(_BLOCK).digest()  # without the interpreter's lock
            used = time.thread_time() - used
            with self._lock:
                ended = time.monotonic()
                self._began = None
                self._stretches.append((ended, (ended - began) / used))
