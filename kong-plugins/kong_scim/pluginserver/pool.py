"""Runs jobs on a fixed number of threads, and decides whose job is next.

Whoever submits a job names whose it is. Nobody has more than a share of the workers, jobs that
wait are taken in turn from those they belong to, and some places are kept for urgent jobs: so one
that sends many or long jobs holds up its own, and neither the others' nor what is urgent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A function to run, and whom it counts against.

    :param group: Whose share of workers and queue it counts against, such as a tenant's; None for
        nobody's: then only the number of workers limits it.
    :param member: Who of the group, such as a token.
    :param urgent: Whether it may take one of the reserved places.
    """

    run: Callable[[], None]
    group: Hashable = None
    member: Hashable = None
    urgent: bool = False


class _Waiting:
    """Jobs in the order in which they are to be run: in turn by group, and within it by member."""

    def __init__(self) -> None:
        self._groups: OrderedDict[Hashable, OrderedDict[Hashable, deque[Job]]] = OrderedDict()
        self._counts: Counter[Hashable] = Counter()
        self.total = 0

    def of(self, group: Hashable) -> int:
        return self._counts[group]

    def add(self, job: Job) -> None:
        members = self._groups.setdefault(job.group, OrderedDict())
        members.setdefault(job.member, deque()).append(job)
        self._counts[job.group] += 1
        self.total += 1

    def take(self, may_run: Callable[[Job], bool]) -> Job | None:
        """Remove the next job that may run; those of one member are alike in that."""
        for group, members in self._groups.items():
            for member, jobs in members.items():
                if may_run(jobs[0]):
                    self._move_back(group, members, member)
                    return self._removed(group, members, member)
        return None

    def _move_back(
        self,
        group: Hashable,
        members: OrderedDict[Hashable, deque[Job]],
        member: Hashable,
    ) -> None:
        self._groups.move_to_end(group)
        members.move_to_end(member)

    def _removed(
        self,
        group: Hashable,
        members: OrderedDict[Hashable, deque[Job]],
        member: Hashable,
    ) -> Job:
        job = members[member].popleft()
        if not members[member]:
            del members[member]
        if not members:
            del self._groups[group]
        self._counts[group] -= 1
        if not self._counts[group]:
            del self._counts[group]
        self.total -= 1
        return job


class WorkerPool:
    """Runs jobs on threads that are all there from the start.

    A group has at most half of the workers and half of the queue, a member three eighths of the
    workers. Jobs that are urgent have further places, of which a group has half; beyond those they
    take workers like any other job, before the others.

    :param name: Of its threads.
    :param workers: How many jobs that are not urgent run at a time, 1 or more.
    :param queue: How many may wait, 1 or more; and as many that are urgent.
    :param reserved: How many places there are for urgent jobs alone.
    """

    def __init__(self, name: str, *, workers: int, queue: int, reserved: int = 0) -> None:
        self._workers = workers
        self._queue = queue
        self._reserved = reserved
        self._of_group = max(1, workers // 2)
        self._of_member = (workers * 3 + 7) // 8
        self._queue_of_group = max(1, queue // 2)
        self._reserved_of_group = max(1, reserved // 2)
        self._changed = threading.Condition()
        self._waiting = {urgent: _Waiting() for urgent in (True, False)}
        self._running: Counter[Hashable] = Counter()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(workers + reserved)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker."""
        with self._changed:
            return sum(each.total for each in self._waiting.values())

    @property
    def size(self) -> int:
        """How many threads work."""
        return sum(thread.is_alive() for thread in self._threads)

    def submit(self, job: Job) -> bool:
        """Have a job run; return False when the queue, or its group's part of it, is full."""
        with self._changed:
            waiting = self._waiting[job.urgent]
            if waiting.total >= self._queue:
                return False
            if job.group is not None and waiting.of(job.group) >= self._queue_of_group:
                return False
            waiting.add(job)
            self._changed.notify()
        return True

    def close(self, timeout: float) -> None:
        """Let what was submitted finish, for at most ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self.waiting:
            log.warning("stopping with jobs that never ran")

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            job, places = taken
            try:
                job.run()
            except BaseException:
                log.exception("a job failed in a way it should have handled itself")
            with self._changed:
                self._running.subtract(places)
                for place in places:
                    if not self._running[place]:
                        del self._running[place]
                if self._closing:
                    self._changed.notify_all()
            del job, taken  # else it, and the request's body with it, stays until the next one

    def _next(self) -> tuple[Job, list[Hashable]] | None:
        """Wait for a job that may run; return it with the places that it takes."""
        with self._changed:
            while True:
                for waiting in self._waiting.values():  # what is urgent comes first
                    job = waiting.take(lambda each: self._places(each) is not None)
                    if job is not None:
                        places = self._places(job)
                        assert places is not None  # noqa: S101 - it was taken for having some
                        self._running.update(places)
                        return job, places
                if self._closing and not any(each.total for each in self._waiting.values()):
                    return None
                self._changed.wait()

    def _places(self, job: Job) -> list[Hashable] | None:
        """Return the names of the places that a job takes, or None where one is not free."""
        running = self._running
        if job.urgent:
            of_group = ("reserved", job.group)
            if running["reserved"] < self._reserved and running[of_group] < self._reserved_of_group:
                return ["reserved", of_group]
        if running["workers"] >= self._workers:
            return None
        if job.group is None:
            return ["workers"]
        group, member = ("group", job.group), ("member", job.group, job.member)
        if running[group] < self._of_group and running[member] < self._of_member:
            return ["workers", group, member]
        return None
