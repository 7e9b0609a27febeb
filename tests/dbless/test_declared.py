"""What a DB-less Kong's configuration declares is nobody's to write, least of all the tick's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from memory_of_kong import Gateway

from kong_scim.bridge import BridgeError, Delete, Revoke, Step, Upsert

ROBOT = "aaaaaaaa-0000-4000-8000-000000000001"
NEW = "aaaaaaaa-0000-4000-8000-000000000002"
TAGS = ["scim", "scim:a", "scim-user:somebody"]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with contextlib.closing(Gateway(tmp_path)) as found:
        yield found


def declared(**more: Any) -> dict[str, Any]:
    key = {"id": f"{ROBOT[:-1]}3", "key": "k", "tags": TAGS}
    group = {"id": f"{ROBOT[:-1]}4", "group": "g", "tags": TAGS}
    robot = {"id": ROBOT, "username": "robot", "tags": TAGS}
    return {**robot, "keyauth_credentials": [key], "acls": [group], **more}


def test_the_tick_leaves_it(gateway: Gateway) -> None:
    gateway.load(declared())
    before = gateway.entities()
    for _ in range(2):
        gateway.tick()
        assert gateway.entities() == before


@pytest.mark.parametrize(
    "step",
    [
        Upsert("consumers", {"id": ROBOT, "tags": []}),
        Delete("consumers", ROBOT),
        Revoke(ROBOT),
        Delete("acls", f"{ROBOT[:-1]}4"),
        Delete("keyauth_credentials", f"{ROBOT[:-1]}3"),
    ],
)
def test_the_gateway_itself_refuses_to_write_it(gateway: Gateway, step: Step) -> None:
    gateway.load(declared())
    before = gateway.entities()
    made = Upsert("consumers", {"id": NEW, "username": "new"})

    with pytest.raises(BridgeError) as refused:
        gateway.bridge().commit([made, step])

    assert (refused.value.name, refused.value.step) == ("DECLARED", 1)
    assert gateway.entities() == before


def test_what_scim_wrote_is_its_own_until_a_configuration_is_loaded(gateway: Gateway) -> None:
    gateway.load()
    bridge = gateway.bridge()
    bridge.commit([Upsert("consumers", {"id": NEW, "username": "new", "tags": TAGS})])
    assert bridge.tagged("scim:a") == {NEW}
    (found,) = bridge.query(consumer_ids=[NEW]).consumers
    assert not found.declared

    gateway.load(declared(id=NEW))

    assert bridge.tagged("scim:a") == set()
    (found,) = bridge.query(consumer_ids=[NEW]).consumers
    assert found.declared
