"""The answer of ``begin`` comes with the first message once an instance has asked for it."""

from __future__ import annotations

from typing import Any

import pytest

from kong_scim.bridge import BridgeUnavailableError, Opening
from lua_node import LuaNode

PHASE = "access"


@pytest.fixture
def request_of(node: LuaNode) -> LuaNode:
    node.facts |= {
        "instance": 7,
        "request_id": "r1",
        "method": "GET",
        "path": "/scim/Users",
        "raw_path": "/scim/Users",
        "raw_query": "count=1",
        "scheme": "https",
        "host": "gw.example",
        "client_ip": "192.0.2.1",
        "route": {"paths": ["/scim"]},
        "vars": {"server_addr": "192.0.2.9", "server_port": "8443"},
    }
    return node


def first_message(node: LuaNode, **facts: Any) -> str:
    return node.workers.first_message(
        {**node.facts, "headers": {"if-match": '"1"'}, **facts}, lambda: node.body
    )


def begin(node: LuaNode, **arguments: Any) -> Opening:
    node.facts["headers"] = {"if-match": '"1"'}
    return node.bridge.begin(max_body_size=1000, require_https=True, **arguments)


def test_the_second_request_of_an_instance_needs_no_step_to_begin(request_of: LuaNode) -> None:
    assert first_message(request_of) == PHASE
    asked = begin(request_of, ahead=True, secrets=["{vault://env/nothing}"])

    name, _, text = first_message(request_of).partition(" ")

    assert name == PHASE
    assert request_of.bridge.opened(text) == asked
    assert asked.request.headers == {"if-match": '"1"'}
    assert asked.secrets == {"{vault://env/nothing}": None}


def test_another_instance_is_asked_for_its_own(request_of: LuaNode) -> None:
    begin(request_of, ahead=True)
    assert first_message(request_of, instance=8) == PHASE


def test_a_server_that_does_not_say_so_gets_the_name_alone(request_of: LuaNode) -> None:
    begin(request_of)
    assert first_message(request_of) == PHASE


def test_what_was_asked_for_is_forgotten_when_the_server_does_not_answer(
    request_of: LuaNode,
) -> None:
    begin(request_of, ahead=True)
    assert first_message(request_of) != PHASE
    request_of.lua('require("kong.plugins.scim-bridge.first_message").forget()')
    assert first_message(request_of) == PHASE


def test_a_first_message_in_another_version_of_the_wire_is_refused(request_of: LuaNode) -> None:
    with pytest.raises(BridgeUnavailableError, match="version 1"):
        request_of.bridge.opened('{"ok": {"bridge_version": 1}}')
