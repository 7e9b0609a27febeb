"""The local store of a plugin server with several processes: one writes at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from kong_scim import processes
from kong_scim.dbless.local_store import BusyError, LocalStore, StoreError

_FORK = multiprocessing.get_context("fork")

Started = tuple[BaseProcess, Connection]
Start = Callable[[Callable[[Path, Connection], None]], Started]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts processes of one plugin server, whose store is in the test's directory."""
    monkeypatch.setattr(processes, "_locks", {})
    processes.share_lock(tmp_path)
    started: list[BaseProcess] = []

    def begin(run: Callable[[Path, Connection], None]) -> Started:
        ours, theirs = _FORK.Pipe()
        process = _FORK.Process(target=run, args=(tmp_path, theirs))
        process.start()
        theirs.close()
        started.append(process)
        return process, ours

    yield begin
    for process in started:
        process.kill()
        process.join()


def _add_a_hundred_times(directory: Path, parent: Connection) -> None:
    """Add one to a number in a file, which a second writer at the same time would spoil."""
    store, file = LocalStore(directory), directory / "number"
    for _ in range(100):
        with store.turn(20):
            number = int(file.read_text() or "0") if file.exists() else 0
            os.sched_yield()
            file.write_text(str(number + 1))
    parent.send("done")


def _hold_the_turn(directory: Path, parent: Connection) -> None:
    with LocalStore(directory).turn(20):
        parent.send("held")
        parent.recv()


def _take_it_again_and_again(directory: Path, parent: Connection) -> None:
    store = LocalStore(directory)
    parent.send("begun")
    while not parent.poll():
        with store.turn(20):
            pass


def test_one_process_writes_at_a_time(start: Start, tmp_path: Path) -> None:
    adding = [start(_add_a_hundred_times) for _ in range(3)]
    assert [connection.recv() for _, connection in adding] == ["done"] * 3
    assert (tmp_path / "number").read_text() == "300"


def test_a_writer_waits_no_longer_than_its_patience_for_another_process(
    start: Start, tmp_path: Path
) -> None:
    _, connection = start(_hold_the_turn)
    assert connection.recv() == "held"
    store = LocalStore(tmp_path)
    for _ in range(2):
        with pytest.raises(BusyError), store.turn(0.05):
            pass
    connection.send("enough")
    with store.turn(20):
        pass


def test_the_turn_ends_with_the_process_that_has_it(start: Start, tmp_path: Path) -> None:
    holder, connection = start(_hold_the_turn)
    assert connection.recv() == "held"
    os.kill(holder.pid or 0, signal.SIGKILL)
    with LocalStore(tmp_path).turn(20):
        pass


def test_a_process_that_always_writes_leaves_the_turn_to_the_others(
    start: Start, tmp_path: Path
) -> None:
    busy = [start(_take_it_again_and_again) for _ in range(2)]
    for _, connection in busy:
        assert connection.recv() == "begun"
    store, began = LocalStore(tmp_path), time.monotonic()
    for _ in range(20):
        with store.turn(20):
            pass
    assert time.monotonic() - began < 20  # none waited for its whole patience
    for _, connection in busy:
        connection.send("enough")


def test_the_directory_is_refused_to_another_plugin_server_while_one_process_is_left(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_connection = {
        connection: process for process, connection in map(start, [_hold_the_turn] * 2)
    }
    (holding,) = wait(list(by_connection))
    by_connection[holding].kill()
    by_connection.pop(holding).join()
    ((connection, left),) = by_connection.items()
    assert connection.recv() == "held"
    for descriptor in processes._locks.values():
        os.close(descriptor)  # as where the parent has ended
    monkeypatch.setattr(processes, "_locks", {})
    with pytest.raises(StoreError, match="in use by another plugin server"):
        LocalStore(tmp_path)
    left.kill()
    left.join()
    LocalStore(tmp_path).close()
