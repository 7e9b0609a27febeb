"""Runs jobs on a fixed number of threads, and decides whose job is next.

A job belongs to a member of a group. Each group may use only a share of the workers, waiting jobs
are taken in turn by group and member, and some places are reserved for urgent jobs. So a group that
submits many or long jobs delays only its own, and never urgent ones.
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
    """A function to run, and the group and member whose share it uses.

    :param run: It may return a function that goes on in the same thread, without a place.
    :param group: The group whose share of workers and queue it uses, such as a tenant; without one,
        only the number of workers limits it.
    :param member: The member of the group, such as a token.
    :param urgent: Whether it may use a reserved place.
    """

    run: Callable[[], Callable[[], None] | None]
    group: Hashable = None
    member: Hashable = None
    urgent: bool = False


class _Queue:
    """The queue of jobs, which are taken in turn by group, and within a group by member."""

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
        """Remove the next job that may run, and return it.

        Only the first job of each member is asked for, since the others get the same answer.
        """
        for group, members in self._groups.items():
            for member, jobs in members.items():
                if may_run(jobs[0]):
                    self._move_back(group, members, member)
                    return self._remove(group, members, member)
        return None

    def _move_back(
        self,
        group: Hashable,
        members: OrderedDict[Hashable, deque[Job]],
        member: Hashable,
    ) -> None:
        self._groups.move_to_end(group)
        members.move_to_end(member)

    def _remove(
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
    """Runs jobs on a fixed number of threads.

    A group may use half of the workers and half of the queue, a member three eighths of the
    workers. Urgent jobs have reserved places, of which a group may use half. When those are taken,
    urgent jobs use workers like any other job, but come first.

    :param name: The prefix of the threads' names.
    :param workers: How many jobs that are not urgent run at a time, 1 or more.
    :param queue: How many of these may wait, 1 or more, and how many urgent ones besides.
    :param reserved: The number of places for urgent jobs only.
    :param spare: How many threads there are beyond the places, for what goes on without one.
    """

    def __init__(
        self, name: str, *, workers: int, queue: int, reserved: int = 0, spare: int = 0
    ) -> None:
        self._workers = workers
        self._queue = queue
        self._reserved = reserved
        self._group_limit = max(1, workers // 2)
        self._member_limit = (workers * 3 + 7) // 8
        self._group_queue_limit = max(1, queue // 2)
        self._group_reserved_limit = max(1, reserved // 2)
        self._changed = threading.Condition()
        self._waiting = {urgent: _Queue() for urgent in (True, False)}
        self._running: Counter[Hashable] = Counter()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(workers + reserved + spare)
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
        """How many threads are alive."""
        return sum(thread.is_alive() for thread in self._threads)

    def submit(self, job: Job) -> bool:
        """Queue a job; return False when the queue, or the group's part of it, is full."""
        with self._changed:
            waiting = self._waiting[job.urgent]
            if waiting.total >= self._queue:
                return False
            if job.group is not None and waiting.of(job.group) >= self._group_queue_limit:
                return False
            waiting.add(job)
            self._changed.notify()
        return True

    def run_here(self, job: Job) -> bool:
        """Run a job in this thread, and return True; return False if another must go first.

        The job takes the same places as in a thread of the pool.
        """
        with self._changed:
            if self._closing or any(each.total for each in self._waiting.values()):
                return False
            places = self._places(job)
            if places is None:
                return False
            self._running.update(places)
        self._run(job, places)
        return True

    def close(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for all submitted jobs to finish."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self.waiting:
            log.warning("stopping with jobs that never ran")

    def _work(self) -> None:
        while (next_job := self._next()) is not None:
            self._run(*next_job)
            del next_job  # otherwise the request's body stays in memory until the next job

    def _run(self, job: Job, places: list[Hashable]) -> None:
        """Run a job, give its places back, and run what it returned."""
        go_on = None
        try:
            go_on = job.run()
        except BaseException:
            log.exception("a job failed in a way it should have handled itself")
        with self._changed:
            self._running.subtract(places)
            for place in places:
                if not self._running[place]:
                    del self._running[place]
            if self._closing:
                self._changed.notify_all()
            elif any(each.total for each in self._waiting.values()):
                self._changed.notify()
        if go_on is not None:
            go_on()

    def _next(self) -> tuple[Job, list[Hashable]] | None:
        """Wait for a job that may run, and return it with the places that it takes.

        Returns None when the pool is closed and no job waits.
        """
        with self._changed:
            while True:
                for waiting in self._waiting.values():  # urgent jobs first
                    job = waiting.take(lambda each: self._places(each) is not None)
                    if job is not None:
                        places = self._places(job)
                        assert places is not None  # noqa: S101 - `take` checked it
                        self._running.update(places)
                        return job, places
                if self._closing and not any(each.total for each in self._waiting.values()):
                    return None
                self._changed.wait()

    def _places(self, job: Job) -> list[Hashable] | None:
        """Return the names of the places that a job would take, or None if one is not free."""
        running = self._running
        if job.urgent:
            of_group = ("reserved", job.group)
            if (
                running["reserved"] < self._reserved
                and running[of_group] < self._group_reserved_limit
            ):
                return ["reserved", of_group]
        if running["workers"] >= self._workers:
            return None
        if job.group is None:
            return ["workers"]
        group, member = ("group", job.group), ("member", job.group, job.member)
        if running[group] < self._group_limit and running[member] < self._member_limit:
            return ["workers", group, member]
        return None
