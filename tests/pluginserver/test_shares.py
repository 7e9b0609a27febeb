"""Whose turn it is where more is asked than there are workers for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kong_side import Wire, is_scim_error
from served import eventually

from kong_scim.pluginserver import context
from kong_scim.pluginserver.pool import Job, WorkerPool


def hold(running, instance) -> Wire:
    """Send an event and do not wait for its answer."""
    wire = Wire(running.path)
    wire.send("plugin.HandleEvent", {"InstanceId": instance, "EventName": "access"})
    return wire


class Gate:
    """Jobs that run until they are let go, and a record of which began."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.began: list[str] = []

    def job(self, name: str, group: object = None, member: object = None, **more: bool) -> Job:
        def run() -> None:
            self.began.append(name)
            self.open.wait(20)

        return Job(run, group, member, **more)


@contextmanager
def pool(**sizes: int) -> Iterator[tuple[WorkerPool, Gate]]:
    gate = Gate()
    made = WorkerPool("test", **sizes)
    try:
        yield made, gate
    finally:
        gate.open.set()
        made.close(5)


def settled(pool: WorkerPool, gate: Gate, running: int) -> Counter[str]:
    eventually(lambda: len(gate.began) >= running)
    return Counter(gate.began)


def test_a_group_has_half_of_the_workers_however_many_jobs_it_sends() -> None:
    with pool(workers=8, queue=64) as (workers, gate):
        for n in range(20):
            assert workers.submit(gate.job("b", "b", n))
        for _ in range(4):
            assert workers.submit(gate.job("a", "a"))
        assert settled(workers, gate, 7) == {"b": 4, "a": 3}
        assert workers.waiting == 17


def test_a_member_leaves_some_of_that_to_the_others_of_its_group() -> None:
    with pool(workers=8, queue=64) as (workers, gate):
        for _ in range(20):
            assert workers.submit(gate.job("busy", "b", "busy"))
        assert workers.submit(gate.job("other", "b", "other"))
        assert settled(workers, gate, 4) == {"busy": 3, "other": 1}


def test_jobs_that_wait_are_taken_in_turn_by_group_and_by_member() -> None:
    with pool(workers=1, queue=64) as (workers, gate):
        first = Gate()
        workers.submit(first.job("first", "x"))
        eventually(lambda: first.began)
        gate.open.set()
        for name in ("b1", "b1", "b2", "a", "a"):
            workers.submit(gate.job(name, name[0], name))
        first.open.set()
        eventually(lambda: len(gate.began) == 5)
        assert gate.began == ["b1", "a", "b2", "a", "b1"]


def test_a_group_has_half_of_the_queue() -> None:
    with pool(workers=2, queue=4) as (workers, gate):
        assert workers.submit(gate.job("b", "b"))
        eventually(lambda: gate.began == ["b"])
        assert [workers.submit(gate.job("b", "b")) for _ in range(3)] == [True, True, False]
        assert workers.submit(gate.job("a", "a"))


def test_urgent_jobs_have_places_of_their_own_of_which_a_group_has_half() -> None:
    with pool(workers=4, queue=64, reserved=4) as (workers, gate):
        for group in "bcd":
            for _ in range(9):
                workers.submit(gate.job(group, group))
        assert sum(settled(workers, gate, 4).values()) == 4
        for _ in range(9):
            workers.submit(gate.job("B", "b", urgent=True))
        for _ in range(2):
            workers.submit(gate.job("A", "a", urgent=True))
        found = settled(workers, gate, 8)
        assert (found["A"], found["B"]) == (2, 2)


def test_beyond_those_an_urgent_job_takes_a_worker_before_the_others() -> None:
    with pool(workers=2, queue=64, reserved=1) as (workers, gate):
        for _ in range(3):
            workers.submit(gate.job("urgent", "a", urgent=True))
        assert settled(workers, gate, 2) == {"urgent": 2}


@pytest.mark.parametrize("workers", [1, 2, 3, 16])
def test_every_job_runs_in_the_end(workers: int) -> None:
    done: Counter[int] = Counter()
    lock = threading.Lock()

    def run(number: int) -> Callable[[], None]:
        def note() -> None:
            with lock:
                done[number] += 1

        return note

    made = WorkerPool("test", workers=workers, queue=10_000, reserved=max(1, workers // 4))
    for number in range(3000):
        group = (None, "a", "b", "c")[number % 4]
        assert made.submit(Job(run(number), group, number % 7, urgent=number % 5 == 0))
    made.close(20)
    assert done == dict.fromkeys(range(3000), 1)


# -- Events in two parts -----------------------------------------------------------


def test_a_first_part_is_served_while_all_workers_have_something_to_do(serve) -> None:
    """Whose request it is, and whether it is urgent, is known only then."""
    running = serve(workers=1, queue=8)
    running.plugin.gate.clear()
    running.plugin.seen.clear()
    slow, urgent = running.kong.start("compute_later"), running.kong.start("echo_urgently")
    held = hold(running, slow)
    eventually(lambda: running.plugin.seen == ["started"])
    waiting = hold(running, slow)
    eventually(lambda: running.kong.status()["Queued"] == 1)

    assert running.kong.handle(urgent, pdk=lambda *_: "v").exit[1] == "v"

    running.plugin.gate.set()
    for wire in (held, waiting):
        assert wire.receive()[3]["Data"]["Args"] == [200, "computed"]
    eventually(lambda: running.kong.status()["Events"] == 0)


def test_a_second_part_for_which_there_is_no_room_is_refused(serve) -> None:
    running = serve(workers=2, queue=2)
    running.plugin.gate.clear()
    running.plugin.seen.clear()
    slow = running.kong.start("compute_later")
    held = [hold(running, slow)]
    eventually(lambda: running.plugin.seen == ["started"])
    held.append(hold(running, slow))
    eventually(lambda: running.kong.status()["Queued"] == 1)
    refused = running.kong.handle(slow)
    assert is_scim_error(refused.exit, 503)
    assert refused.exit[2]["Retry-After"] == "1"
    running.plugin.gate.set()
    for wire in held:
        assert wire.receive()[3]["Data"]["Args"] == [200, "computed"]


def test_an_exception_in_a_second_part_is_answered_and_logged(serve, caplog) -> None:
    running = serve()
    outcome = running.kong.handle(running.kong.start("raise_later"), pdk=lambda *_: "r-1")
    assert is_scim_error(outcome.exit, 500)
    assert "hunter2 later" in caplog.text
    assert running.kong.status()["Events"] == 0


def test_a_server_that_knows_no_shares_runs_the_rest_at_once() -> None:
    done: list[int] = []
    context.later(lambda: done.append(1), member="m")
    assert done == [1]
