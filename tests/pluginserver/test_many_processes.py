"""``--processes``: several processes behind one socket, which Kong cannot tell from one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kong_side import KongSide, RpcFailedError, Wire, is_scim_error
from served import HERE, answers, eventually, server_process

SHARED = HERE / "plugins" / "shared.py"


class Server:
    """A plugin server of two processes, with a connection of Kong's to each."""

    def __init__(self, path: Path, process: Any) -> None:
        self.path = path
        self.process = process
        self.kong = KongSide(path)
        self.wires = self.one_to_each()

    def one_to_each(self) -> list[Wire]:
        """Connections that end in different processes, as far as the kernel gives them."""
        found: dict[int, Wire] = {}

        def both() -> bool:
            wire = Wire(self.path)
            found.setdefault(wire.call("plugin.GetStatus")["Pid"], wire)
            return len(found) == 2

        eventually(both)
        return list(found.values())

    def pids(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    def start(self, order: str) -> int:
        config = f'{{"order": "{order}"}}'
        argument = {"Name": "shared", "Config": config}
        return self.wires[0].call("plugin.StartInstance", argument)["Id"]

    def answer(self, wire: Wire, instance: int) -> Any:
        """What an event answers that takes no step."""
        event = {"InstanceId": instance, "EventName": "access"}
        return wire.call("plugin.HandleEvent", event)["Data"]["Args"][1]

    def events(self) -> int:
        status = self.kong.status()
        return status["Events"] + sum(each["Events"] for each in status["OtherProcesses"])


def begin(wire: Wire, instance: int, phase: str = "access") -> dict[str, Any]:
    return wire.call("plugin.HandleEvent", {"InstanceId": instance, "EventName": phase})


def step(wire: Wire, event: dict[str, Any], value: Any) -> dict[str, Any]:
    return wire.call("plugin.Step", {"EventId": event["EventId"], "Data": value})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def server(tmp_path: Path, log: Path) -> Iterator[Server]:
    path = tmp_path / "s.sock"
    options = ("--socket", str(path), "--plugin", str(SHARED), "--processes", "2")
    with server_process(*options, stderr=log) as process:
        eventually(lambda: answers(path))
        yield Server(path, process)


def test_connections_are_shared_out_and_the_parent_serves_none(server: Server) -> None:
    serving = {wire.call("plugin.GetStatus")["Pid"] for wire in server.wires}
    assert serving == server.pids()
    assert server.process.pid not in serving


def test_a_step_over_another_connection_reaches_its_event(server: Server) -> None:
    instance = server.start("where")
    for here, there in (server.wires, server.wires[::-1]):
        pid = here.call("plugin.GetStatus")["Pid"]
        event = begin(here, instance)
        value = "v" * 500_000
        assert step(there, event, value)["Data"]["Args"][1] == [pid, value]
    assert server.events() == 0


def test_an_error_of_kong_over_another_connection_reaches_its_event(server: Server) -> None:
    here, there = server.wires
    event = begin(here, server.start("where"))
    failed = {"EventId": event["EventId"], "Data": "no such function"}
    assert is_scim_error(there.call("plugin.StepError", failed)["Data"]["Args"], 500)


def test_an_event_is_dropped_when_kong_hangs_up_after_a_step_that_was_passed_on(
    server: Server, log: Path
) -> None:
    here, there = server.wires
    event = begin(here, server.start("where_twice"))
    assert step(there, event, "v")["Data"]["Method"] == "kong.test.value"
    there.close()
    eventually(lambda: "dropped: Kong hung up" in log.read_text())
    assert server.events() == 0


def test_an_instance_serves_in_each_process_and_is_closed_in_all(server: Server) -> None:
    instance = server.start("count")
    assert {server.answer(wire, instance) for wire in server.wires} == server.pids()
    server.wires[1].call("plugin.CloseInstance", instance)
    for wire in server.wires:
        with pytest.raises(RpcFailedError, match="no plugin instance"):
            begin(wire, instance)
    with pytest.raises(RpcFailedError, match="no plugin instance"):
        server.wires[0].call("plugin.CloseInstance", instance)


def test_ticks_run_in_one_process_over_whatever_connection_they_come(server: Server) -> None:
    instance = server.start("where")
    ran_in = set()
    for wire in server.wires * 2:
        event = begin(wire, instance, "tick")
        ran_in.update(event["Data"]["Args"])
        assert step(wire, event, None)["Data"] == "ret"
    assert len(ran_in) == 1


def test_a_limit_of_requests_holds_for_all_processes_together(server: Server) -> None:
    instance = server.start("limited")
    passed = [server.answer(wire, instance) for wire in server.wires * 10]
    assert passed == [True] * 10 + [False] * 10


def test_wrong_credentials_are_counted_by_all_processes_together(server: Server) -> None:
    instance = server.start("guess")
    blocked = [server.answer(wire, instance) for wire in server.wires * 6]
    assert blocked == [False] * 9 + [True] * 3


def test_counts_of_all_processes_add_up(server: Server) -> None:
    count, take = server.start("count"), server.start("take")
    for wire in server.wires * 3:
        server.answer(wire, count)
    assert server.answer(server.wires[0], take) == [["events", "user.create", 6]]
    assert server.answer(server.wires[1], take) == []


def test_each_process_knows_the_last_uses_that_any_has_seen(server: Server) -> None:
    use, uses = server.start("use"), server.start("uses")
    for wire in server.wires:
        server.answer(wire, use)
    names = sorted(f"token of {pid}" for pid in server.pids())
    assert [server.answer(wire, uses) for wire in server.wires] == [names, names]


def test_a_process_that_dies_loses_its_own_events_only_and_is_started_again(
    server: Server, log: Path
) -> None:
    instance = server.start("where")
    dying, staying = server.wires
    before, pid = server.pids(), dying.call("plugin.GetStatus")["Pid"]
    lost, kept = begin(dying, instance), begin(staying, instance)

    os.kill(pid, signal.SIGKILL)

    assert step(staying, kept, "v")["Data"]["Args"][1][1] == "v"
    with pytest.raises(RpcFailedError, match=r"has ended|not found"):
        step(staying, lost, "v")
    eventually(lambda: len(server.pids()) == 2)
    assert len(server.pids() - before) == 1
    for wire in server.one_to_each():  # also in the new one, which asks the other for the instance
        event = begin(wire, instance)
        assert step(wire, event, "v")["Data"]["Args"][1][1] == "v"
    assert f"({pid}) ended with SIGKILL; starting it again" in log.read_text()


def test_a_step_that_was_passed_on_fails_when_the_process_of_its_event_dies(
    server: Server,
) -> None:
    dying, staying = server.wires
    stopped = psutil.Process(dying.call("plugin.GetStatus")["Pid"])
    event = begin(dying, server.start("where"))
    stopped.suspend()
    staying.send("plugin.Step", {"EventId": event["EventId"], "Data": "v"})
    stopped.kill()
    assert staying.receive()[2] is not None


def test_a_stop_finishes_events_whose_steps_come_over_other_connections(server: Server) -> None:
    instance = server.start("where")
    here, there = server.wires
    events = [begin(here, instance), begin(there, instance)]
    server.process.terminate()
    refused: list[Any] = []

    def refuses() -> bool:
        answer = begin(here, instance)
        if answer["Data"]["Method"] != "kong.response.exit":
            step(here, answer, "v")
            return False
        refused.append(answer["Data"]["Args"])
        return True

    eventually(refuses)
    assert is_scim_error(refused[-1], 503)
    assert step(there, events[0], "v")["Data"]["Args"][1][1] == "v"
    assert step(here, events[1], "v")["Data"]["Args"][1][1] == "v"
    assert server.process.wait(10) == 0
    assert not server.path.exists()


def test_a_signal_to_the_whole_group_stops_in_order_too(server: Server) -> None:
    """A terminal's Ctrl-C and a supervisor's stop reach every process."""
    event = begin(server.wires[0], server.start("where"))
    for pid in [*server.pids(), server.process.pid]:
        os.kill(pid, signal.SIGINT)
    assert step(server.wires[1], event, "v")["Data"]["Args"][1][1] == "v"
    assert server.process.wait(10) == 0


def test_when_the_parent_is_killed_its_processes_end_and_another_server_can_begin(
    server: Server,
) -> None:
    children = [psutil.Process(pid) for pid in server.pids()]
    server.process.kill()
    psutil.wait_procs(children, 10)
    assert not any(child.is_running() for child in children)
    options = ("--socket", str(server.path), "--plugin", str(SHARED), "--processes", "2")
    with server_process(*options):
        eventually(lambda: answers(server.path))
        assert KongSide(server.path).status()["Events"] == 0


def test_only_processes_of_the_server_are_answered_what_they_ask_each_other(
    server: Server,
) -> None:
    """An instance's configuration has secrets, and whoever may connect could ask for it."""
    with pytest.raises(RpcFailedError, match="unknown method"):
        server.wires[0].call("processes.Ask", "instance", server.start("where"))
