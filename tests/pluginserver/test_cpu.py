"""How much of a processor a request may take, and when it pauses."""

from __future__ import annotations

import threading
import time

import pytest

from kong_scim import cpu


def burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_it_is_the_threads_own_time_that_counts() -> None:
    with cpu.allowed(0.2):
        other = threading.Thread(target=burn, args=(0.3,))
        other.start()
        other.join()
        cpu.check()
        burn(0.21)
        with pytest.raises(cpu.CpuSpentError, match="more than 0"):
            cpu.check()
        cpu.renew()
        cpu.check()
    burn(0.21)
    cpu.check()  # what is allowed nothing in particular, such as the tick, goes on


def test_others_pause_while_something_urgent_runs() -> None:
    passed = threading.Event()

    def ordinary() -> None:
        with cpu.allowed(5):
            cpu.check()
            passed.set()

    with cpu.urgent():
        with cpu.allowed(5, gives_way=False):
            cpu.check()
        thread = threading.Thread(target=ordinary)
        thread.start()
        assert not passed.wait(cpu.PATIENCE / 5)
    assert passed.wait(20)
    thread.join()


def test_nobody_pauses_for_longer_than_its_patience_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "PATIENCE", 0.05)
    with cpu.urgent(), cpu.allowed(5):
        for _ in range(10_000):
            cpu.check()


def test_one_computes_at_a_time_and_who_waits_for_something_else_lets_others_go_on() -> None:
    computing, most, waited = 0, 0, threading.Barrier(4, timeout=20)
    lock = threading.Lock()

    def ordinary() -> None:
        nonlocal computing, most
        with cpu.allowed(5):
            for _ in range(3):
                with lock:
                    computing += 1
                    most = max(most, computing)
                burn(0.005)
                with lock:
                    computing -= 1
                with cpu.waiting():
                    waited.wait()  # all of them are here at once, though one computes at a time

    threads = [threading.Thread(target=ordinary) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == 1
    assert not waited.broken


def test_who_computes_for_long_lets_the_others_go_on_at_its_next_check() -> None:
    passed = threading.Event()

    def other() -> None:
        with cpu.allowed(5):
            passed.set()

    with cpu.allowed(30):
        thread = threading.Thread(target=other)
        thread.start()
        while not passed.is_set():
            burn(cpu.TURN)
            cpu.check()
    thread.join()


def test_what_is_urgent_waits_for_nobody_who_computes() -> None:
    with cpu.allowed(5):
        thread = threading.Thread(target=_urgently)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()


def _urgently() -> None:
    with cpu.urgent(), cpu.allowed(5, gives_way=False):
        cpu.check()
