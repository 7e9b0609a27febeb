"""More requests than there are workers, and Kongs that go away."""

from __future__ import annotations

import threading

import pytest
from kong_side import ConnectionClosedError, RpcFailedError, Wire, is_scim_error
from served import eventually

from kong_scim.pluginserver.event import KongGoneError


def hold(running, instance) -> Wire:
    """Send an event and do not wait for its answer."""
    wire = Wire(running.path)
    wire.send("plugin.HandleEvent", {"InstanceId": instance, "EventName": "access"})
    return wire


def test_above_workers_and_queue_an_event_is_refused_at_once(serve):
    running = serve(workers=2, queue=3)
    instance = running.kong.start("compute")
    running.plugin.gate.clear()
    running.plugin.seen.clear()
    working = [hold(running, instance) for _ in range(2)]
    eventually(lambda: running.plugin.seen == ["started"] * 2)
    waiting = [hold(running, instance) for _ in range(3)]
    eventually(lambda: running.kong.status()["Queued"] == 3)

    refused = running.kong.handle(instance)
    assert is_scim_error(refused.exit, 503)
    assert refused.exit[2]["Retry-After"] == "1"
    assert running.kong.handle(instance, "tick").exit is None
    assert running.kong.status()["Events"] == 5

    running.plugin.gate.set()
    for wire in working + waiting:
        assert wire.receive()[3]["Data"]["Args"] == [200, "computed"]
    assert running.kong.status()["Events"] == 0


def test_a_tick_waits_for_no_request(serve):
    """Requests may wait for what it does: behind them it would wait for itself."""
    running = serve(workers=1, queue=1)
    computing, echo = running.kong.start("compute"), running.kong.start("echo")
    running.plugin.gate.clear()
    running.plugin.seen.clear()
    working = hold(running, computing)
    eventually(lambda: running.plugin.seen == ["started"])
    waiting = hold(running, computing)
    eventually(lambda: running.kong.status()["Queued"] == 1)

    ticked = running.kong.handle(echo, "tick", pdk=lambda *_: "the tick ran")

    assert running.plugin.seen == ["started", "the tick ran"]
    assert ticked.exit is None
    running.plugin.gate.set()
    for wire in (working, waiting):
        assert wire.receive()[3]["Data"]["Args"] == [200, "computed"]


def test_a_plugin_that_waits_for_kong_does_not_hold_up_the_others(serve):
    running = serve(workers=2)
    instance = running.kong.start("echo")
    stuck = running.kong.begin(instance)
    for _ in range(5):
        assert running.kong.handle(instance, pdk=lambda *_: "v").exit[1] == "v"
    assert running.kong.step(stuck["EventId"], "late")["Data"]["Args"][1] == "late"


def test_an_event_that_kong_does_not_go_on_with_is_dropped_after_its_time(serve, caplog):
    running = serve(workers=2, event_timeout=0.2)
    running.plugin.seen.clear()
    instance = running.kong.start("swallow")
    dropped = [running.kong.begin(instance)["EventId"] for _ in range(2)]
    assert running.kong.handle(running.kong.start("echo"), pdk=lambda *_: "v").exit[1] == "v"
    eventually(lambda: running.plugin.seen == [KongGoneError] * 2)
    for event in dropped:
        with pytest.raises(RpcFailedError, match="not found"):
            running.kong.step(event, "too late")
    eventually(lambda: caplog.text.count("dropped: no step within 0.2 s") == 2)
    assert running.kong.status()["Events"] == 0


def test_an_event_whose_kong_closed_the_connection_is_dropped(serve, caplog):
    running = serve(workers=1)
    instance = running.kong.start("compute")
    running.plugin.gate.clear()
    running.plugin.seen.clear()
    working = hold(running, instance)
    eventually(lambda: running.plugin.seen == ["started"])
    waiting = hold(running, instance)
    eventually(lambda: running.kong.status()["Queued"] == 1)
    working.close()
    waiting.close()
    eventually(lambda: running.kong.status()["Events"] == 0)
    running.plugin.gate.set()
    eventually(lambda: caplog.text.count("dropped: Kong closed the connection") == 2)
    assert running.plugin.seen == ["started"]  # the second never ran


def test_an_event_whose_kong_hung_up_between_two_steps_is_dropped_soon(serve, caplog):
    """A Kong that was killed: the plugin may hold what all other requests wait for."""
    running = serve(workers=1, event_timeout=600, hangup_timeout=0.1)
    running.plugin.seen.clear()
    wire = Wire(running.path)
    asked = {"InstanceId": running.kong.start("swallow"), "EventName": "access"}
    assert wire.call("plugin.HandleEvent", asked)["Data"] != "ret"
    wire.close()
    eventually(lambda: running.plugin.seen == [KongGoneError])
    eventually(lambda: "dropped: Kong hung up, and no step came within 0.1 s" in caplog.text)


def test_a_kong_that_closed_a_connection_for_want_of_places_goes_on_over_another(serve):
    running = serve(workers=1, event_timeout=600, hangup_timeout=600)
    wire = Wire(running.path)
    asked = {"InstanceId": running.kong.start("echo"), "EventName": "access"}
    event = wire.call("plugin.HandleEvent", asked)["EventId"]
    wire.close()
    eventually(lambda: running.kong.status()["Events"] == 1)
    assert running.kong.step(event, "later")["Data"]["Args"][1] == "later"


def test_a_call_kong_gave_up_is_not_answered_on_the_connection_it_uses_again(serve):
    """``mp_rpc.lua`` asserts that an answer has its call's id, and a read timeout keeps the
    connection in the pool: a late answer would fail the next request on it."""
    running = serve(workers=2)
    slow, quick = running.kong.start("compute"), running.kong.start("echo")
    running.plugin.gate.clear()
    running.plugin.seen.clear()
    wire = hold(running, slow)
    eventually(lambda: running.plugin.seen == ["started"])
    event = wire.call("plugin.HandleEvent", {"InstanceId": quick, "EventName": "access"})
    running.plugin.gate.set()
    eventually(lambda: running.kong.status()["Events"] == 1)
    assert (
        wire.call("plugin.Step", {"EventId": event["EventId"], "Data": 1})["Data"]["Args"][1] == 1
    )
    assert wire.call("plugin.GetStatus")["Events"] == 0


def test_a_kong_that_does_not_read_its_answer_does_not_keep_the_worker(serve):
    running = serve(workers=1, event_timeout=0.3)
    instance = running.kong.start("echo")
    event = running.kong.begin(instance)["EventId"]
    deaf = Wire(running.path)
    deaf.send("plugin.Step", {"EventId": event, "Data": "x" * 5_000_000})
    assert running.kong.handle(instance, pdk=lambda *_: "v").exit[1] == "v"
    with pytest.raises(ConnectionClosedError):
        deaf.receive()


def test_requests_at_once_each_get_their_own_answer(serve):
    running = serve(workers=8, queue=64)
    instance = running.kong.start("echo")
    wrong = []

    def client(name: int) -> None:
        kong = type(running.kong)(running.path)
        for number in range(50):
            value = f"{name}:{number}" * 100
            if kong.handle(instance, pdk=lambda *_, v=value: v).exit[1] != value:
                wrong.append(value)
        kong.close()

    clients = [threading.Thread(target=client, args=(name,)) for name in range(16)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert wrong == []
