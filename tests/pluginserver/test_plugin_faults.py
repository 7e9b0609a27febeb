"""A plugin's faults: Kong is always answered, the log has the reason, the client has not."""

from __future__ import annotations

import logging
from io import StringIO

import pytest
from kong_side import RpcFailedError, is_scim_error
from served import eventually

from kong_scim.pluginserver.__main__ import OneLineFormatter
from kong_scim.pluginserver.event import AlreadyAnsweredError


@pytest.mark.parametrize("order", ["raise_before", "raise_between", "leave", "send_object"])
def test_an_exception_is_a_500_scim_error_without_internals(running, order, caplog):
    outcome = running.kong.handle(running.kong.start(order), pdk=lambda *_: "request-1")
    assert is_scim_error(outcome.exit, 500)
    assert "hunter2" not in outcome.exit[1]
    assert "Traceback" in caplog.text
    assert running.kong.status()["Events"] == 0


def test_an_exception_after_the_answer_is_only_logged(running, caplog):
    outcome = running.kong.handle(running.kong.start("raise_after"))
    assert outcome.exit == [204]
    eventually(lambda: "hunter2 after" in caplog.text)


def test_a_pdk_call_after_the_answer_raises_and_frees_the_worker(running, caplog):
    running.plugin.seen.clear()
    instance = running.kong.start("call_after_exit")
    for _ in range(9):  # more than there are workers
        assert running.kong.handle(instance).exit == [200, "first"]
    eventually(lambda: running.plugin.seen == [AlreadyAnsweredError] * 9)
    assert "already answered" in caplog.text


def test_an_exception_where_no_client_waits_is_logged_and_ends_the_event(running, caplog):
    outcome = running.kong.handle(running.kong.start("echo"), "tick", lambda *_: "t")
    assert outcome.exit is None
    assert "tick failed" in caplog.text


def test_the_log_line_of_an_exception_has_the_request_id_and_is_one_line(running):
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLineFormatter())
    logging.getLogger().addHandler(handler)
    try:
        running.kong.handle(running.kong.start("raise_between"), pdk=lambda *_: "id\n5")
    finally:
        logging.getLogger().removeHandler(handler)
    (line,) = [line for line in stream.getvalue().splitlines() if "hunter2 between" in line]
    assert "request_id='id\\n5'" in line
    assert "Traceback" in line


def test_no_event_sees_the_request_id_of_another(running):
    broken, who = running.kong.start("raise_between"), running.kong.start("who")
    for _ in range(9):
        running.kong.handle(broken, pdk=lambda *_: "request-1")
        assert running.kong.handle(who).exit == [200, "None"]


@pytest.mark.parametrize("config", ['{"order": "broken"}', "{}", "[]", "no JSON", "", None])
def test_a_configuration_the_plugin_cannot_take_is_a_503_on_each_request(running, config, caplog):
    start = {"Name": "puppet", "Config": config}
    if config is None:  # cjson could not encode it
        del start["Config"]
    instance = running.kong.call("plugin.StartInstance", start)["Id"]
    assert "could not start" in caplog.text
    for _ in range(2):
        outcome = running.kong.handle(instance)
        assert is_scim_error(outcome.exit, 503)
        assert "hunter2" not in outcome.exit[1]
    assert running.kong.handle(instance, "tick").exit is None


def test_instances_kong_forgot_are_let_go_and_started_again_when_it_remembers(serve, monkeypatch):
    monkeypatch.setattr("kong_scim.pluginserver.instances.MAX_INSTANCES", 3)
    kong = serve().kong
    kept = kong.start("echo")
    forgotten = kong.start("echo")
    for _ in range(3):
        kong.handle(kept)
        kong.start("echo")
    assert kong.handle(kept, pdk=lambda *_: "v").exit[1] == "v"
    with pytest.raises(RpcFailedError, match=r"^no plugin instance"):
        kong.begin(forgotten)
