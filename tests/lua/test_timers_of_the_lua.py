"""The tick, the Admin API's routes and the metrics of scim-bridge, on a node without a Kong."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from lua_node import LuaNode

from kong_scim.bridge import BridgeError, Upsert
from kong_scim_sandbox import entities
from kong_scim_sandbox.declarative_rows import ConsumerRow

ROUTE = "/scim-bridge/consumers/:consumers/:credential"


def admin(node: LuaNode, route: str, method: str, **params: Any) -> tuple[int, Any]:
    """Call a route of ``api.lua`` as Kong's Admin API does; return status and body."""
    return node.workers.admin(route, method, params, {"vars": {"remote_addr": "192.0.2.1"}})


def person(node: LuaNode, username: str) -> str:
    identifier = str(uuid.uuid4())
    tags = ["scim", "scim:a", "scim-user:u1"]
    entity = {"id": identifier, "username": username, "tags": tags}
    node.bridge.commit([Upsert("consumers", entity)])
    return identifier


# -- The tick -----------------------------------------------------------------


def test_each_plugin_is_called_at_once_and_each_second(node: LuaNode) -> None:
    node.bridge.wake()
    assert node.plugin_server.methods == ["tick"]

    node.workers.run_timers(1)

    assert node.plugin_server.methods == ["tick", "tick"]


def test_a_tick_that_fails_keeps_none_of_the_others_from_theirs(
    node: LuaNode, caplog: pytest.LogCaptureFixture
) -> None:
    node.plugin_server.fails = True
    node.workers.run_timers(1)
    node.plugin_server.fails = False
    node.workers.run_timers(1)

    assert node.plugin_server.methods.count("tick") >= 2
    assert "the tick of plugin p1 failed" in caplog.text


def test_a_plugin_server_that_is_away_is_said_once(
    node: LuaNode, caplog: pytest.LogCaptureFixture
) -> None:
    node.plugin_server.is_there = False
    node.workers.run_timers(1)
    node.workers.run_timers(1)

    assert node.plugin_server.methods == []
    assert caplog.text.count("does not listen") == 1


def test_who_asks_for_a_tick_gets_one_soon(node: LuaNode) -> None:
    node.workers.run_timers(0.5)
    before = len(node.plugin_server.methods)

    node.bridge.request_tick()
    node.workers.run_timers(0.5)

    assert len(node.plugin_server.methods) > before


# -- Which Kong it was written for ---------------------------------------------------


def test_a_kong_of_another_release_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for version, warnings in (("3.9.3", 0), ("3.9.1.2", 0), ("3.90.0", 1), ("4.0.0", 1)):
        caplog.clear()
        node = LuaNode(tmp_path / f"{version}.sqlite", dbless=True, version=version)
        node.bridge.wake()
        node.bridge.wake()
        said = f"written for Kong 3.9 and this is Kong {version}:"
        assert caplog.text.count(said) == warnings, version
        node.store.close()


def test_a_kong_without_a_private_function_does_not_start(node: LuaNode) -> None:
    error = node.lua(
        """
        local name = "kong.plugins.scim-bridge.kong_internals"
        package.loaded[name] = nil
        package.loaded["resty.lmdb"] = {}
        kong.version = "4.0.0"
        return select(2, pcall(require, name))
        """
    )
    assert "for Kong 3.9 and this is Kong 4.0.0, which has no `get` in resty.lmdb" in error


# -- Whether the guard is on, and for whom ---------------------------------------


def test_the_guard_is_on_only_where_it_is_on_for_every_route(node: LuaNode) -> None:
    assert node.bridge.wake().guarded

    for changes in ({"enabled": False}, {"route": {"id": "r"}}, {"service": {"id": "s"}}):
        node.workers.configure([node.plugins[0], {**node.plugins[1], **changes}])
        assert not node.bridge.wake().guarded

    node.workers.configure(node.plugins)
    assert node.bridge.wake().guarded


def test_headers_of_an_identity_are_taken_off_in_every_spelling(node: LuaNode) -> None:
    sent = ["x-consumer-id", "X_Consumer_Username", "x-credential.identifier", "x-other", "accept"]
    facts = {"headers": {name.lower(): "me" for name in sent}}

    hidden = node.workers.rewrite({"hide_identity_headers": True}, facts)

    assert sorted(hidden) == ["x-consumer-id", "x-credential.identifier", "x_consumer_username"]
    assert node.workers.rewrite({"hide_identity_headers": False}, facts) == []


def test_hiding_headers_by_a_plugin_of_a_route_is_refused(node: LuaNode) -> None:
    config = {"hide_identity_headers": True, "unknown_logins": "allow"}
    assert node.workers.access(config, {})["exit"]["status"] == 503
    assert "exit" not in node.workers.access(config, {"identity_hidden": True})


# -- Live configurations --------------------------------------------


def test_a_changed_configuration_counts_for_the_next_request(node: LuaNode) -> None:
    def tenant() -> str:
        found: str = node.lua(
            """
            local live_config = require "kong.plugins.scim-bridge.live_config"
            old = old or { tenant = "a", __plugin_id = "p1" }
            return live_config.current(old).tenant
            """
        )
        return found

    node.bridge.wake()
    assert tenant() == "a"

    node.workers.configure([{**node.plugins[0], "config": {"tenant": "b"}}])

    assert tenant() == "b"
    assert tenant() == "b"
    node.workers.configure([])
    assert tenant() == "a"


# -- Credentials by the Admin API ---------------------------------------------------


def test_a_credential_goes_to_the_plugin_server_of_its_tenant(memory_node: LuaNode) -> None:
    identifier = person(memory_node, "alice")

    status, made = admin(
        memory_node, ROUTE, "POST", consumers="alice", credential="key-auth", key="k1"
    )

    assert (status, made["key"], made["consumer"]) == (201, "k1", {"id": identifier})
    request = memory_node.plugin_server.requests[-1]
    assert (request["step"]["op"], request["step"]["dao"]) == ("upsert", "keyauth_credentials")
    assert request["user"] == "u1"


def test_what_the_plugin_server_refuses_is_answered(memory_node: LuaNode) -> None:
    person(memory_node, "alice")
    memory_node.plugin_server.answer = {"code": 5, "message": "taken"}
    call = {"consumers": "alice", "credential": "key-auth"}
    assert admin(memory_node, ROUTE, "POST", **call)[0] == 409
    memory_node.plugin_server.answer = None
    assert admin(memory_node, ROUTE, "POST", **call)[0] == 503


def test_a_credential_of_nobody_of_another_kind_or_in_no_text_is_refused(
    memory_node: LuaNode,
) -> None:
    person(memory_node, "bob")
    with memory_node.store.writing() as connection:
        entities.insert(connection, "consumers", {"username": "declared"})

    for params, status in (
        ({"consumers": "nobody", "credential": "key-auth"}, 404),
        ({"consumers": "bob", "credential": "acls"}, 404),
        ({"consumers": "declared", "credential": "key-auth"}, 409),
        ({"consumers": "bob", "credential": "key-auth", "key": "a\0b"}, 400),
    ):
        assert admin(memory_node, ROUTE, "POST", **params)[0] == status, params


def test_a_credential_is_taken_away(memory_node: LuaNode) -> None:
    owner, key = person(memory_node, "alice"), str(uuid.uuid4())
    entity = {"id": key, "consumer": {"id": owner}, "key": "k"}
    memory_node.bridge.commit([Upsert("keyauth_credentials", entity)])
    call = {"consumers": owner, "credential": "key-auth"}

    assert admin(memory_node, f"{ROUTE}/:id", "DELETE", **call, id=key)[0] == 204
    assert memory_node.plugin_server.requests[-1]["step"]["id"] == key
    before = len(memory_node.plugin_server.requests)
    assert admin(memory_node, f"{ROUTE}/:id", "DELETE", **call, id=str(uuid.uuid4()))[0] == 204
    assert len(memory_node.plugin_server.requests) == before


def test_with_a_database_it_is_kongs_own_admin_api_that_does_it(database_node: LuaNode) -> None:
    assert admin(database_node, ROUTE, "POST", consumers="a", credential="key-auth")[0] == 405


def test_what_the_configuration_declares_is_not_written(memory_node: LuaNode) -> None:
    memory_node.store.load([ConsumerRow.model_validate({"username": "declared"})])
    (found,) = memory_node.bridge.query(usernames=["declared"]).consumers

    with pytest.raises(BridgeError) as refused:
        memory_node.bridge.commit([Upsert("consumers", {"id": found.id, "username": "mine"})])

    assert refused.value.name == "DECLARED"


# -- The request ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "path", "base", "rest"),
    [
        ({"paths": ["/scim/v2", "/scim"]}, "/scim/v2/Users/1", "/scim/v2", "/Users/1"),
        ({"paths": ["/"]}, "/Users", "", "/Users"),
        ({"paths": ["~/t/(?<tenant>[a-z]+)/scim"]}, "/t/acme/scim/Users", "/t/acme/scim", "/Users"),
        ({}, "/Users", "", "/Users"),
    ],
)
def test_a_path_is_split_where_its_route_ends(
    node: LuaNode, route: dict[str, Any], path: str, base: str, rest: str
) -> None:
    node.facts = {
        **request("kong.example:8443"),
        "route": route,
        "path": path,
        "raw_path": path,
    }

    opening = node.bridge.begin(max_body_size=1000, require_https=False)

    assert opening.request.path == rest
    assert opening.request.base_url == f"https://kong.example:8443{base}"


def request(host: str) -> dict[str, Any]:
    return {
        "node_id": "node",
        "request_id": "r1",
        "method": "POST",
        "path": "/",
        "raw_path": "/",
        "raw_query": "",
        "scheme": "https",
        "host": host.partition(":")[0],
        "client_ip": "192.0.2.1",
        "vars": {"server_addr": "2001:db8::1", "server_port": "8443"},
        "headers": {"host": host},
    }


def test_a_host_that_is_none_is_not_repeated(node: LuaNode) -> None:
    node.facts = request("evil host")
    opening = node.bridge.begin(max_body_size=1000, require_https=True)
    assert opening.request.base_url == "https://[2001:db8::1]:8443"


def test_a_large_body_is_read_in_pieces_and_one_that_is_too_large_not_at_all(
    node: LuaNode, tmp_path: Path
) -> None:
    body = bytes(range(256)) * 100
    (tmp_path / "body").write_bytes(body)
    node.facts = request("kong.example")
    node.body = (None, str(tmp_path / "body"))

    opening = node.bridge.begin(max_body_size=len(body), require_https=True)

    assert (opening.request.body_size, opening.request.body_too_large) == (len(body), False)
    assert node.bridge.body(len(body)) == body
    assert node.bridge.begin(max_body_size=len(body) - 1, require_https=True).request.body_too_large


def test_a_call_in_another_version_of_the_wire_is_refused(node: LuaNode) -> None:
    for text, name in (
        ('{"bridge_version": 1}', "BRIDGE_VERSION"),
        ("[", "BAD_REQUEST"),
        ('{"bridge_version": 7, "steps": "\\u0000"}', "BAD_REQUEST"),
        ('{"bridge_version": 7, "steps": 1}', "BAD_REQUEST"),
    ):
        answer, _ = node.workers.call("commit", text, {"node_id": "n"})
        assert json.loads(answer)["error"]["name"] == name
