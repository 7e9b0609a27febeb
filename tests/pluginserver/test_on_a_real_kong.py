"""The server and the plugin's schema on a real Kong, DB-less, with two workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from kong_side import KongSide
from served import HERE, answers, eventually, server_process

from kong_process import KongProcess, kong_binary, requires_kong
from kong_scim.config.plugin import parse

pytestmark = requires_kong

PLUGIN = HERE / "plugins" / "on_kong" / "scim.py"
TOKENS = [{"name": "okta", "value": "secret"}]
ORDERS = [
    "echo",
    "body",
    "raise_before",
    "raise_between",
    "broken",
    "call_after_exit",
    "lua_error",
    "config",
]


class Gateway:
    """A Kong with one route for each order, and the plugin server that it may lose."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.socket = directory / "scim.sock"
        self._stack = stack
        self.serve()
        dump = directory / "plugin.json"
        with server_process("--dump", "--plugin", str(PLUGIN)) as process:
            dump.write_bytes(process.communicate()[0])
        declarative = directory / "kong.json"
        declarative.write_text(json.dumps(_declarative()))
        self.kong = stack.enter_context(
            KongProcess(
                kong_binary(),
                directory / "prefix",
                declarative=declarative,
                plugins=("scim",),
                pluginserver=(self.socket, dump),
            )
        )

    def serve(self) -> None:
        options = ("--socket", str(self.socket), "--plugin", str(PLUGIN), "--event-timeout", "1")
        self.server = self._stack.enter_context(server_process(*options))
        eventually(lambda: answers(self.socket))

    def post(self, order: str, body: bytes = b"") -> httpx.Response:
        return httpx.post(f"{self.kong.proxy_url}/{order}", content=body, timeout=70)

    def events(self) -> int:
        return KongSide(self.socket).status()["Events"]


def _declarative() -> dict[str, Any]:
    return {
        "_format_version": "3.0",
        "routes": [
            {
                "name": order,
                "paths": [f"/{order}"],
                "plugins": [{"name": "scim", "config": {"tenant": order, "tokens": TOKENS}}],
            }
            for order in ORDERS
        ],
    }


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with ExitStack() as stack:
        yield Gateway(tmp_path_factory.mktemp("kong"), stack)


@pytest.mark.parametrize("size", [0, 10, 100_000, 5_000_000])
def test_a_body_goes_through_kong_and_back(gateway, size):
    body = b"\xff\x00" * (size // 2)
    answer = gateway.post("body", body)
    assert (answer.status_code, answer.content) == (200, body)


@pytest.mark.parametrize(
    ("order", "status"), [("raise_before", 500), ("raise_between", 500), ("broken", 503)]
)
def test_a_fault_is_a_scim_error_for_the_client(gateway, order, status):
    for _ in range(3):
        answer = gateway.post(order)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/scim+json"
        assert answer.json()["status"] == str(status)


def test_what_a_plugin_does_after_its_answer_changes_nothing(gateway):
    for _ in range(20):
        assert gateway.post("call_after_exit").text == "first"
    assert gateway.events() == 0


def test_a_request_that_lua_ended_does_not_keep_a_worker(gateway):
    for _ in range(3):
        assert gateway.post("lua_error").status_code >= 500
    eventually(lambda: gateway.events() == 0)
    assert gateway.post("echo").status_code == 200


def test_kong_refuses_requests_without_the_server_and_finds_it_again(gateway):
    assert gateway.post("body", b"before").text == "before"
    gateway.server.kill()
    gateway.server.wait()
    assert gateway.post("body", b"lost").status_code == 503
    gateway.serve()
    for _ in range(20):  # both workers hold ids of the instances that are gone
        assert gateway.post("body", b"again").text == "again"


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"tenant": "../x"}, "tenant"),
        ({"tenant": "suspended"}, "tenant"),
        ({"tenant": "x" * 65}, "tenant"),
        ({"tenent": "acme"}, "tenent"),
        ({"tokens": [{"name": "a", "sha256": "abc"}]}, "tokens"),
        ({"tokens": [{"name": "a", "value": "x", "scopes": ["scim:everything"]}]}, "tokens"),
        ({"jwt": {"algorithms": ["HS256"]}}, "jwt"),
        ({"group_scopes": {"idp": ["everything"]}}, "group_scopes"),
        ({"tokens": [{"name": "a b", "value": "x"}]}, "tokens"),
        ({"tokens": [{"name": "a", "value": ""}]}, "tokens"),
        ({"base_url": "gw.example.com"}, "base_url"),
        ({"base_url": "https://user@gw"}, "base_url"),
        ({"require_https": "no"}, "require_https"),
        ({"consumer": {"username": "user name"}}, "consumer"),
        ({"consumer": {"username": None}}, "consumer"),
        ({"groups": {"pattern": "("}}, "groups"),
        ({"groups": {"map": {"A": 1}}}, "groups"),
        ({"on_deactivate": "ignore"}, "on_deactivate"),
        ({"adopt": "always"}, "adopt"),
        ({"max_results": 0}, "max_results"),
        ({"max_body_size": 1.5}, "max_body_size"),
    ],
)
def test_kong_refuses_what_cannot_work_with_the_fields_name(gateway, config, field):
    answer = _validate(gateway, {"tokens": TOKENS, **config})
    assert answer.status_code == 400
    assert list(answer.json()["fields"]["config"]) == [field]


@pytest.mark.parametrize(
    "config",
    [
        {"tenant": "Acme-1.eu_x"},
        {"tokens": [{"name": "okta", "value": "{vault://env/scim-token}"}]},
        {"base_url": "https://gw.example.com/scim/v2"},
        {"base_url": "https://gw.example.com:8443"},
        {"consumer": {"custom_id": ""}},
        {"consumer": {"username": "name.familyName"}},
        {
            "consumer": {
                "custom_id": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:"
                "employeeNumber"
            }
        },
        {"groups": {"map": {"Admins": "admin"}, "pattern": "^app-(.*)$", "replacement": ""}},
        {"roles": {"roles_prefix": ""}},
    ],
)
def test_kong_takes_what_the_model_takes(gateway, config):
    config = {"tokens": TOKENS, **config}
    parse(config)
    assert _validate(gateway, config).status_code == 200


def _validate(gateway: Gateway, config: dict[str, Any]) -> httpx.Response:
    url = f"{gateway.kong.admin_url}/schemas/plugins/validate"
    return httpx.post(url, json={"name": "scim", "config": config})


def test_what_kong_fills_in_is_what_the_model_fills_in(gateway):
    plugins = httpx.get(f"{gateway.kong.admin_url}/plugins").json()["data"]
    assert len(plugins) == len(ORDERS)
    for plugin in plugins:
        config = plugin["config"]
        assert parse(config) == parse({"tokens": TOKENS, "tenant": config["tenant"]})


def test_what_reaches_the_plugin_is_what_was_configured(gateway):
    received = gateway.post("config").json()
    assert parse(received) == parse({"tokens": TOKENS, "tenant": "config"})
    assert received["groups"]["map"] == {}
