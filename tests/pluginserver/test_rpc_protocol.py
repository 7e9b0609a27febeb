"""The RPC, as Kong speaks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import pytest
from kong_side import ConnectionClosedError, RpcFailedError, Wire
from served import eventually

RECORDED = Path(__file__).parent / "recorded_frames.jsonl"
REPLAYER = Path(__file__).parent / "plugins" / "scim2.py"


def recorded() -> list[tuple[str, list[Any]]]:
    def binary(value: dict[str, Any]) -> Any:
        return value["__bin__"].encode("latin-1") if "__bin__" in value else value

    lines = RECORDED.read_text().splitlines()
    frames = [json.loads(line, object_hook=binary) for line in lines]
    return [(frame["from"], frame["message"]) for frame in frames]


def test_every_message_recorded_from_a_real_kong_is_answered_as_it_was(serve):
    running = serve(plugin=REPLAYER)
    wire = Wire(running.path)
    ids: dict[int, int] = {}
    for sender, message in recorded():
        if sender == "kong":
            _, call_id, method, (argument,) = message
            argument = dict(argument)
            for key in {"InstanceId", "EventId"} & argument.keys():
                argument[key] = ids[key, argument[key]]
            wire.send_raw(msgpack.packb([0, call_id, method, [argument]]))
            continue
        answer = wire.receive()
        assert answer[:3] == message[:3]
        for key, kind in (("Id", "InstanceId"), ("EventId", "EventId")):
            if key in message[3]:
                ids[kind, message[3].pop(key)] = answer[3].pop(key)
        message[3].pop("StartTime", None)
        answer[3].pop("StartTime", None)
        assert answer[3] == message[3]
    wanted = [message[3][0].get("Data") for _, message in recorded() if "Step" in str(message[2])]
    assert running.plugin.values == wanted
    assert running.kong.status()["Events"] == 0


def test_a_step_may_come_on_another_connection_than_its_event(running):
    instance = running.kong.start("echo")
    first, second = Wire(running.path), Wire(running.path)
    event = first.call("plugin.HandleEvent", {"InstanceId": instance, "EventName": "access"})
    first.close()
    answer = second.call("plugin.Step", {"EventId": event["EventId"], "Data": "v"})
    assert answer["Data"]["Args"] == [200, "v", {"x-type": "str"}]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("é", "str"),
        (b"\x00\xff raw", "bytes"),
        (True, "bool"),
        (7, "int"),
        (0.5, "float"),
        ([1, None], "list"),
        ({1: "a", "b": [2]}, "dict"),
        (None, "NoneType"),
        ("\udcff\udc80 not UTF-8", "str"),
    ],
)
def test_a_value_reaches_the_plugin_and_comes_back_as_it_was(running, value, kind):
    outcome = running.kong.handle(running.kong.start("echo"), pdk=lambda *_: value)
    assert outcome.exit == [200, value, {"x-type": kind}]


@pytest.mark.parametrize("value", [b"\xff" * 5_000_000, "x" * 5_000_000], ids=["bytes", "str"])
def test_five_megabytes_travel_whole_in_both_directions(running, value):
    instance = running.kong.start("echo")
    for _ in range(3):  # on the same connection, whose decoder starts anew after each
        assert running.kong.handle(instance, pdk=lambda *_: value).exit[1] == value


def test_any_step_method_carries_a_value(running):
    instance = running.kong.start("echo")
    for method in ("Step", "StepMultiMap", "StepConsumer", "StepCredential", "StepRoute"):
        event = running.kong.begin(instance)
        answer = running.kong.step(event["EventId"], {"a": ["1"]}, f"plugin.{method}")
        assert answer["Data"]["Args"][1] == {"a": ["1"]}


def test_a_step_error_is_an_exception_of_the_pdk_call(running):
    event = running.kong.begin(running.kong.start("pdk_error"))
    answer = running.kong.step(event["EventId"], "it is broken", "plugin.StepError")
    assert answer["Data"]["Args"] == [418, "exception from kong.test.value: it is broken"]


def test_a_step_error_without_a_reason_is_an_exception_all_the_same(running):
    event = running.kong.begin(running.kong.start("pdk_error"))
    answer = running.kong.step(event["EventId"], None, "plugin.StepError")
    assert answer["Data"]["Args"][0] == 418


def test_a_plugin_that_returns_lets_kong_go_on(running):
    outcome = running.kong.handle(running.kong.start("go_on"))
    assert outcome.exit is None
    assert outcome.calls == [("kong.test.value", [])]


def test_any_public_method_of_the_plugin_may_be_called_and_no_other(running):
    instance = running.kong.start("echo")
    assert running.kong.handle(instance, "tick", lambda *_: "t").exit is None
    assert running.plugin.seen[-1] == "t"
    for name in ("rewrite", "__init__", "gate", "", None, 7, ["access"]):
        with pytest.raises(RpcFailedError, match="has no method"):
            running.kong.begin(instance, name)


def test_an_unknown_instance_is_named_as_kong_expects_it(running):
    """``mp_rpc.lua`` looks for "no plugin instance" to start another one."""
    instance = running.kong.start("echo")
    running.kong.call("plugin.CloseInstance", instance)
    for unknown in (instance, 0, None, "x"):
        with pytest.raises(RpcFailedError, match=r"^no plugin instance"):
            running.kong.begin(unknown)
    with pytest.raises(RpcFailedError, match=r"^no plugin instance"):
        running.kong.call("plugin.CloseInstance", instance)


def test_ids_of_a_server_that_was_restarted_mean_nothing_to_the_new_one(serve):
    first, second = serve(), serve()
    instance = first.kong.start("echo")
    event = first.kong.begin(instance)["EventId"]
    other = second.kong.start("go_on")
    second.kong.begin(other)
    with pytest.raises(RpcFailedError, match=r"^no plugin instance"):
        second.kong.begin(instance)
    with pytest.raises(RpcFailedError, match="not found"):
        second.kong.step(event, "an answer meant for another request")


@pytest.mark.parametrize(
    ("method", "argument", "error"),
    [
        ("plugin.Nonsense", None, "unknown method"),
        ("other.Step", None, "unknown method"),
        ("", None, "unknown method"),
        ("plugin.Step", {"EventId": -1}, "not found"),
        ("plugin.Step", {}, "no EventId"),
        ("plugin.Step", None, "no EventId"),
        ("plugin.Step", {"EventId": []}, "plugin.Step: TypeError"),
        ("plugin.StepError", {"EventId": -1}, "not found"),
        ("plugin.HandleEvent", {}, "no InstanceId"),
        ("plugin.HandleEvent", [], "no InstanceId"),
        ("plugin.StartInstance", {"Config": "{}"}, "no Name"),
        ("plugin.StartInstance", {"Name": "acl", "Config": "{}"}, "no plugin 'acl'"),
        ("plugin.GetPluginInfo", "acl", "no plugin 'acl'"),
        ("plugin.InstanceStatus", -1, "no plugin instance"),
    ],
)
def test_a_call_that_cannot_be_served_is_an_error_and_the_connection_goes_on(
    running, method, argument, error
):
    wire = Wire(running.path)
    with pytest.raises(RpcFailedError, match=error):
        wire.call(method, argument)
    assert wire.call("plugin.GetStatus")["Events"] == 0


def test_a_step_that_nobody_waits_for_is_an_error_and_the_event_goes_on(running):
    instance = running.kong.start("compute")
    running.plugin.gate.clear()
    running.plugin.seen.clear()
    wire = Wire(running.path)
    wire.send("plugin.HandleEvent", {"InstanceId": instance, "EventName": "access"})
    event = next(iter(_events(running)))
    with pytest.raises(RpcFailedError, match="does not wait for a step"):
        running.kong.step(event, "early")
    running.plugin.gate.set()
    assert wire.receive()[3]["Data"]["Args"] == [200, "computed"]


def _events(running) -> list[int]:
    eventually(lambda: running.plugin.seen == ["started"])
    return list(running.server._events)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xc1",
        b"\x90",
        msgpack.packb("text"),
        msgpack.packb([2, "serverPid", 1]),
        msgpack.packb([0, "1", "plugin.Step", []]),
        msgpack.packb([0, 1, b"plugin.Step", []]),
        msgpack.packb([0, 1, "plugin.Step", {}]),
        msgpack.packb([0, 1, "plugin.Step", [], 5]),
        b"\xdd\xff\xff\xff\xff",
        b"\x81\x91\x01\x01",
        b"\x91" * 100_000,
    ],
)
def test_garbage_ends_its_connection_and_no_other(running, garbage, caplog):
    bystander, wire = Wire(running.path), Wire(running.path)
    bystander.call("plugin.GetStatus")
    wire.send_raw(garbage)
    with pytest.raises((ConnectionClosedError, ConnectionResetError)):
        wire.receive()
    assert bystander.call("plugin.GetStatus")["Events"] == 0
    assert "other than a call" in caplog.text


def test_a_message_over_the_limit_ends_its_connection(running, monkeypatch):
    monkeypatch.setattr("kong_scim.pluginserver.wire.MAX_MESSAGE", 200_000)
    wire = Wire(running.path)
    wire.send_raw(b"\xdb\xff\xff\xff\xff")
    with pytest.raises((ConnectionClosedError, OSError)):  # noqa: PT012 - whichever notices first
        for _ in range(50):
            wire.send_raw(b"x" * 10_000)
        wire.receive()
    assert running.kong.status()["Events"] == 0


def test_plugin_info_has_what_kong_reads_of_it(running):
    info = running.kong.call("plugin.GetPluginInfo", "puppet")
    assert info == {
        "Name": "puppet",
        "Phases": ["access"],
        "Priority": 755,
        "Version": "1.2.3",
        "Schema": {
            "name": "puppet",
            "fields": [{"config": {"type": "record", "fields": [{"order": {"type": "string"}}]}}],
        },
    }


def test_instances_tell_their_status_but_not_their_secrets(running):
    instance = running.kong.start("echo")
    status = running.kong.call("plugin.InstanceStatus", instance)
    assert (status["Name"], status["Id"]) == ("puppet", instance)
    assert "Config" not in status
    assert running.kong.status()["Plugins"]["puppet"]["Instances"] == [status]
