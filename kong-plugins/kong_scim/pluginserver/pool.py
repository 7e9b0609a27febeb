"""A fixed number of threads and a bounded queue before them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import Full, Queue

log = logging.getLogger(__name__)


class WorkerPool:
    """Runs jobs on threads that are all there from the start.

    :param name: Of its threads.
    :param workers: How many jobs run at a time, 1 or more.
    :param queue: How many may wait for a worker, 1 or more.
    """

    def __init__(self, name: str, *, workers: int, queue: int) -> None:
        self._jobs: Queue[Callable[[], None] | None] = Queue(maxsize=queue)
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker."""
        return self._jobs.qsize()

    @property
    def size(self) -> int:
        """How many threads work."""
        return sum(thread.is_alive() for thread in self._threads)

    def submit(self, job: Callable[[], None]) -> bool:
        """Have ``job`` run; return False when the queue is full."""
        try:
            self._jobs.put_nowait(job)
        except Full:
            return False
        return True

    def close(self, timeout: float) -> None:
        """Let what was submitted finish, for at most ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        try:
            for _ in self._threads:
                self._jobs.put(None, timeout=max(0.0, deadline - time.monotonic()))
        except Full:
            log.warning("stopping with jobs that never ran")
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException:
                log.exception("a job failed in a way it should have handled itself")
            del job  # else it, and the request's body with it, stays until the next one
