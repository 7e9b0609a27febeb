"""A gateway without a database: what lasts, what comes back, and what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agreement import disagreements
from hosts import GROUP, Gateway, eventually
from kong_process import requires_kong
from scim_traffic import get, new_group, new_user, patch, refused, user_body

pytestmark = pytest.mark.parametrize(
    "host_name",
    ["sandbox-off", pytest.param("kong-dbless", marks=requires_kong)],
    indirect=True,
    scope="session",
)


def staff(gateway: Gateway) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ada may use the API and has a key; Bob is disabled."""
    ada = new_user(gateway.scim, "ada", externalId="00u1", roles=[{"value": "admin"}])
    bob = new_user(gateway.scim, "bob")
    new_group(gateway.scim, ada["id"], bob["id"], name=GROUP)
    gateway.give_key("ada", "key-of-ada")
    gateway.give_key("bob", "key-of-bob")
    inactive = {"op": "replace", "value": {"active": False}}
    assert patch(gateway.scim, f"/Users/{bob['id']}", inactive).status_code == 200
    return ada, bob


def all_is_well(gateway: Gateway) -> None:
    assert disagreements(gateway) == []
    assert gateway.call("key-of-ada").status_code == 200
    assert gateway.call("key-of-bob").status_code == 401


def test_a_restart_brings_everybody_back_with_groups_and_keys(fresh_gateway: Gateway) -> None:
    staff(fresh_gateway)

    fresh_gateway.restart()

    all_is_well(fresh_gateway)


def test_a_configuration_that_is_loaded_into_it_takes_nobody_away(gateway: Gateway) -> None:
    staff(gateway)

    gateway.declare()

    all_is_well(gateway)


def test_what_is_declared_is_never_touched_whatever_tags_it_carries(gateway: Gateway) -> None:
    ada = new_user(gateway.scim, "ada")
    tags = ["scim", "scim:a", f"scim-user:{ada['id']}", "scim-event:1"]
    robot = gateway.new_consumer(username="robot", tags=tags, acls=[{"group": GROUP, "tags": tags}])
    key = gateway.give_key("robot")

    new_user(gateway.scim, "bob")
    gateway.declare()

    assert gateway.call(key, "/echo").status_code == 200
    assert set((gateway.consumer("robot") or {})["tags"]) == set(tags)
    taken = refused(gateway.scim.post("/Users", json=user_body("robot")), 409, "uniqueness")
    assert "declarative configuration declares" in taken
    answer = gateway.admin.post(f"/scim-bridge/consumers/{robot['id']}/key-auth", json={})
    assert answer.status_code == 409
    assert "SCIM did not create this consumer" in answer.text
    assert gateway.consumer("ada")


def test_nor_where_it_is_declared_under_the_id_of_a_user(gateway: Gateway) -> None:
    """As it is in a copy of what a gateway had, people of SCIM's included."""
    ada = new_user(gateway.scim, "ada")
    copied = {"id": ada["id"], "username": "ada", "tags": ["scim", "scim:a"]}
    gateway.content.setdefault("consumers", []).append(copied)
    gateway.declare()
    inactive = {"op": "replace", "value": {"active": False}}

    sentence = refused(patch(gateway.scim, f"/Users/{ada['id']}", inactive), 409, "uniqueness")

    assert "declarative configuration declares" in sentence
    assert set((gateway.consumer("ada") or {})["tags"]) == {"scim", "scim:a"}
    gateway.content.pop("consumers")
    gateway.declare()
    assert patch(gateway.scim, f"/Users/{ada['id']}", inactive).status_code == 200


def test_a_reload_takes_nobody_away(host_name: str, request: pytest.FixtureRequest) -> None:
    if host_name == "sandbox-off":
        pytest.skip("the sandbox has no `kong reload`")
    fresh_gateway: Gateway = request.getfixturevalue("fresh_gateway")
    staff(fresh_gateway)
    host: Any = fresh_gateway.host

    host.kong.reload()

    fresh_gateway.wait()
    all_is_well(fresh_gateway)


def test_a_write_right_after_a_load_is_made_or_told_to_come_back(gateway: Gateway) -> None:
    for number in range(40):
        new_user(gateway.scim, f"user-{number}")
    with ThreadPoolExecutor(4) as pool:
        content = {"config": json.dumps(gateway.content)}
        loaded = pool.submit(gateway.admin.post, "/config", json=content)
        bodies = [user_body(f"late-{number}") for number in range(30)]
        answers = list(pool.map(lambda body: gateway.scim.post("/Users", json=body), bodies))
        assert loaded.result().status_code == 201

    assert {answer.status_code for answer in answers} <= {201, 503}
    stored = 40
    for answer in answers:
        if answer.status_code == 201:
            stored += 1
            continue
        assert int(answer.headers["retry-after"]) > 0
        detail = refused(answer, 503)
        # A load between the write of the store and that of Kong's memory: the store has it.
        stored += "The change is stored" in detail
        assert ("The change is stored" in detail) is not ("nothing was written" in detail)
    gateway.wait()
    assert get(gateway.scim, "/Users", count="0")["totalResults"] == stored
    assert disagreements(gateway) == []


def test_reads_are_answered_while_kong_is_given_its_rows(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    text = json.dumps(gateway.content)
    gateway.admin.post("/config", json={"config": text}).raise_for_status()

    assert gateway.scim.get(f"/Users/{user['id']}").status_code == 200
    gateway.wait()


def test_a_declared_consumer_is_left_alone_and_named_and_the_rest_is_there(
    gateway: Gateway,
) -> None:
    alice, bob = new_user(gateway.scim, "alice"), new_user(gateway.scim, "bob")

    declared = gateway.new_consumer(username="alice")

    assert declared["id"] != alice["id"]
    assert gateway.consumer("alice") == declared
    assert gateway.consumer(alice["id"]) is None
    found = gateway.consumer("bob")
    assert found is not None
    assert found["id"] == bob["id"]
    log = gateway.host.log()
    assert f"user {alice['id']} is not applied to Kong" in log
    assert f"the consumer {declared['id']}" in log

    change = {"op": "replace", "path": "title", "value": "Engineer"}
    detail = refused(patch(gateway.scim, f"/Users/{alice['id']}", change), 409, "uniqueness")
    assert "declarative configuration" in detail
    assert gateway.consumer("alice") == declared

    gateway.content.pop("consumers")
    gateway.declare()
    eventually(lambda: (gateway.consumer("alice") or {}).get("id") == alice["id"], "SCIM's alice")
    assert disagreements(gateway) == []


def test_adopt_link_takes_no_declared_consumer_over(gateway_with: Callable[..., Gateway]) -> None:
    """A configuration that is loaded again would bring it back as it was."""
    gateway = gateway_with(adopt="link")
    declared = gateway.new_consumer(username="carol")

    detail = refused(gateway.scim.post("/Users", json=user_body("carol")), 409, "uniqueness")

    assert "declarative configuration" in detail
    assert gateway.consumer("carol") == declared


def test_a_key_that_was_taken_away_stays_away(gateway: Gateway) -> None:
    new_user(gateway.scim, "alice")
    gateway.give_key("alice", "one")
    gateway.give_key("alice", "two")
    path = gateway.keys_path("alice")
    (one,) = (
        each["id"]
        for each in gateway.admin.get("/consumers/alice/key-auth").json()["data"]
        if each["key"] == "one"
    )

    assert gateway.admin.delete(f"{path}/{one}").status_code == 204
    gateway.declare()

    assert gateway.call("one", "/keyed").status_code == 401
    assert gateway.call("two", "/keyed").status_code == 200


def test_keys_are_refused_as_kongs_own_admin_api_refuses_them(gateway: Gateway) -> None:
    new_user(gateway.scim, "alice")
    new_user(gateway.scim, "bob")
    gateway.give_key("alice", "taken")
    (taken,) = gateway.admin.get("/consumers/alice/key-auth").json()["data"]
    gateway.new_consumer(username="robot")

    for path, body, status in (
        (gateway.keys_path("alice"), {"key": "taken"}, 409),
        (gateway.keys_path("bob"), {"key": "taken"}, 409),
        (gateway.keys_path("bob"), {"id": taken["id"], "key": "another"}, 409),
        (gateway.keys_path("alice"), {"key": 5}, 400),
        (gateway.keys_path("nobody"), {}, 404),
        (gateway.keys_path("robot"), {}, 409),
        ("/scim-bridge/consumers/alice/no-such-auth", {}, 404),
        ("/consumers/alice/key-auth", {}, 405),
    ):
        answer = gateway.admin.post(path, json=body)
        assert answer.status_code == status, (path, answer.text)
        assert answer.json()["message"]


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"key": "a\\u0000b"}', "application/json"),
        (b'{"tags": ["a\\u0000b"]}', "application/json"),
        (b'{"tags": {"a\\u0000b": {}}}', "application/json"),
        (b'{"a\\u0000b": 1}', "application/json"),
        (b"key=a%00b", FORM),
        (b"key=a%FFb", FORM),
        (b"key%00=a", FORM),
    ],
)
def test_a_nul_in_a_key_is_400_and_gives_none(
    gateway: Gateway, body: bytes, content_type: str
) -> None:
    new_user(gateway.scim, "alice")
    headers = {"Content-Type": content_type}
    answer = gateway.admin.post(gateway.keys_path("alice"), content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert "NUL" in answer.json()["message"]
    assert gateway.admin.get("/consumers/alice/key-auth").json()["data"] == []


@pytest.mark.parametrize("where", ["alice%00", "%00", "alice?key=%00", "alice/%00"])
def test_a_nul_in_the_path_of_a_key_is_400(gateway: Gateway, where: str) -> None:
    new_user(gateway.scim, "alice")
    name, _, query = where.partition("?")
    name, _, key = name.partition("/")
    path = f"/scim-bridge/consumers/{name}/key-auth"
    if key:
        answer = gateway.admin.delete(f"{path}/{key}")
    else:
        answer = gateway.admin.post(f"{path}?{query}", json={})
    assert answer.status_code == 400, answer.text
    assert gateway.admin.get("/consumers/alice/key-auth").json()["data"] == []
