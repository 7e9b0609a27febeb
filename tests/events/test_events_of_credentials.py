"""A credential that an administrator gives to a DB-less Kong, or takes away, is an event too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from joserfc import jwk

from hosts import Gateway, eventually
from kong_process import requires_kong
from kong_scim.cli.main import main
from outbox import events
from receiver import Receiver, receiver
from scim_traffic import new_user

pytestmark = pytest.mark.parametrize(
    "host_name",
    ["sandbox-off", pytest.param("kong-dbless", marks=requires_kong)],
    indirect=True,
    scope="session",
)

CAEP = "https://schemas.openid.net/secevent/caep/event-type/credential-change"


def take_keys(gateway: Gateway, consumer: str) -> None:
    for each in gateway.admin.get(f"/consumers/{consumer}/key-auth").json()["data"]:
        path = f"{gateway.keys_path(consumer)}/{each['id']}"
        assert gateway.admin.delete(path).status_code == 204


def test_it_tells_who_and_which_kind_and_never_the_value(gateway: Gateway) -> None:
    alice = new_user(gateway.scim, "alice")["id"]
    key = gateway.give_key("alice", "the-value-of-the-key")
    take_keys(gateway, "alice")

    _, given, taken = events(gateway, alice)
    consumer = gateway.consumer("alice")
    assert consumer is not None
    assert f"scim-event:{taken['id']}" in consumer["tags"]

    for event, operation, of_kong in (
        (given, "credential-add", "upsert"),
        (taken, "credential-remove", "delete"),
    ):
        assert (event["operation"], event["resourceType"]) == (operation, "User")
        assert (event["actor"], event["address"]) == ("kong-admin", "127.0.0.1")
        written = {"operation": of_kong, "kind": "keyauth_credentials", "count": 1}
        assert event["entities"] == [written]
        assert event["requestId"]
        assert key not in json.dumps(event)
    assert given["requestId"] != taken["requestId"]
    assert taken["credentials"] == [{"kind": "keyauth_credentials", "count": 1}]


def test_what_is_refused_or_was_not_there_is_none(gateway: Gateway) -> None:
    alice = new_user(gateway.scim, "alice")["id"]
    bob = new_user(gateway.scim, "bob")["id"]
    gateway.give_key("alice", "taken")
    before = events(gateway)

    path = gateway.keys_path("bob")
    assert gateway.admin.post(path, json={"key": "taken"}).status_code == 409
    assert gateway.admin.delete(f"{path}/{alice}").status_code == 204

    assert events(gateway) == before
    assert [each["operation"] for each in events(gateway, bob)] == ["create"]


def test_the_command_shows_it(gateway: Gateway) -> None:
    new_user(gateway.scim, "alice")
    gateway.give_key("alice", "the-value-of-the-key")
    take_keys(gateway, "alice")
    events(gateway)

    options = ["--scim-url", gateway.scim_base, "--token", gateway.token, "--user", "alice"]
    shown = CliRunner().invoke(main, ["audit", *options])

    assert shown.exit_code == 0, shown.output
    _, given, taken = shown.output.splitlines()
    assert "credential-add User" in given
    assert "gave 1 keyauth_credentials" in given
    assert "by kong-admin from 127.0.0.1" in given
    assert "credential-remove User" in taken
    assert "revoked 1 keyauth_credentials" in taken
    assert "the-value-of-the-key" not in shown.output


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver(202) as made:
        yield made


def test_who_asked_for_it_is_told(hook: Receiver, gateway_with: Callable[..., Gateway]) -> None:
    wanted = ["user.credential-add", "user.credential-remove"]
    target = {"url": hook.url, "events": wanted}
    gateway = gateway_with(
        events={
            "webhooks": [
                {"name": "json", "secret": "s", **target},
                {"name": "set", "format": "set", **target},
            ],
            "signing_key": jwk.ECKey.generate_key("P-256").as_pem(private=True).decode(),
            "allow_http": True,
            "allow_hosts": ["127.0.0.1"],
        }
    )
    alice = new_user(gateway.scim, "alice")["id"]
    gateway.give_key("alice")
    take_keys(gateway, "alice")

    def told(start: bytes) -> list[bytes]:
        return [each.body for each in hook.taken() if each.body.startswith(start)]

    eventually(lambda: len(told(b"{")) == len(told(b"ey")) == 2, "all to be told")
    assert [json.loads(body)["type"] for body in told(b"{")] == wanted
    claims: list[dict[str, Any]] = [
        jwt.decode(body, options={"verify_signature": False}) for body in told(b"ey")
    ]
    assert [each["sub_id"]["uri"] for each in claims] == [f"/Users/{alice}"] * 2
    assert [each["events"] for each in claims] == [
        {CAEP: {"credential_type": "keyauth_credentials", "change_type": change}}
        for change in ("create", "delete")
    ]
