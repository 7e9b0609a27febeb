"""A consumer says in a tag which event changed it last, on every host, whatever happened."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hosts import Gateway
from kong_process import requires_kong
from outbox import events
from scim_traffic import new_group, new_user, patch, patched_user

INACTIVE = {"op": "replace", "value": {"active": False}}
ACTIVE = {"op": "replace", "value": {"active": True}}


def stamp(gateway: Gateway, consumer: str) -> str:
    """The id of the event that a consumer names; it names one."""
    found = gateway.consumer(consumer)
    assert found is not None
    (tag,) = (each for each in found["tags"] if each.startswith("scim-event:"))
    return str(tag.removeprefix("scim-event:"))


def newest(gateway: Gateway) -> str:
    return str(events(gateway)[-1]["id"])


def test_it_is_the_last_one_whatever_of_the_consumer_it_changed(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    seen = [stamp(gateway, "alice")]
    assert seen[-1] == newest(gateway)

    group = new_group(gateway.scim, user["id"], name="staff")
    path = f"/Groups/{group['id']}"
    for change in (
        lambda: None,
        lambda: patch(gateway.scim, path, {"op": "replace", "value": {"displayName": "crew"}}),
        lambda: patch(gateway.scim, path, {"op": "remove", "path": "members"}),
        lambda: patched_user(gateway.scim, user["id"], {"op": "add", "value": {"title": "x"}}),
        lambda: patched_user(gateway.scim, user["id"], INACTIVE),
        lambda: patched_user(gateway.scim, user["id"], ACTIVE),
    ):
        change()
        seen.append(stamp(gateway, "alice"))
        touched = [
            each["id"]
            for each in events(gateway)
            if any(of["value"] == user["id"] for of in each.get("users", []))
        ]
        assert seen[-1] == touched[-1]
    # A title is nothing to Kong, and its event none of the consumer's.
    assert [one == other for one, other in pairwise(seen)] == [
        *[False] * 3,
        True,
        *[False] * 2,
    ]


def test_a_key_that_is_revoked_once_more_is_an_event_of_the_consumer(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    patched_user(gateway.scim, user["id"], INACTIVE)
    deactivated = stamp(gateway, "alice")

    patched_user(gateway.scim, user["id"], INACTIVE)
    assert stamp(gateway, "alice") == deactivated  # there was nothing to revoke

    gateway.give_key("alice")
    patched_user(gateway.scim, user["id"], INACTIVE)

    (*_, last) = events(gateway, user["id"])
    assert last["credentials"] == [{"kind": "keyauth_credentials", "count": 1}]
    assert stamp(gateway, "alice") == last["id"] != deactivated


def test_what_an_event_says_was_written_leaves_the_tag_out(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    group = new_group(gateway.scim, user["id"], name="staff")
    (event,) = events(gateway, group["id"])
    assert event["entities"] == [{"operation": "upsert", "kind": "acls", "count": 1}]


def test_tags_of_an_administrator_stay(gateway: Gateway) -> None:
    if gateway.host.dbless:
        pytest.skip("an administrator of a DB-less Kong changes no consumer of SCIM's")
    user = new_user(gateway.scim, "alice")
    if gateway.name.startswith("sandbox"):
        pytest.skip("the sandbox's Admin API changes no consumer")
    tags = [*(gateway.consumer("alice") or {})["tags"], "gold"]
    gateway.admin.patch("/consumers/alice", json={"tags": tags}).raise_for_status()

    new_group(gateway.scim, user["id"], name="staff")

    assert "gold" in (gateway.consumer("alice") or {})["tags"]
    assert stamp(gateway, "alice") == newest(gateway)


@pytest.mark.parametrize(
    "host_name",
    ["sandbox-off", pytest.param("kong-dbless", marks=requires_kong)],
    indirect=True,
    scope="session",
)
def test_a_kong_that_is_given_all_anew_names_the_same_events(gateway: Gateway) -> None:
    names = ("alice", "bob", "carol")
    ids = [new_user(gateway.scim, name)["id"] for name in names]
    new_group(gateway.scim, *ids[:2], name="staff")
    patched_user(gateway.scim, ids[1], INACTIVE)
    before = [stamp(gateway, name) for name in names]
    assert len(set(before)) == 3

    gateway.declare()

    assert [stamp(gateway, name) for name in names] == before
