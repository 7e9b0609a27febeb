"""Who is suspended is refused on the very next request, at every worker."""

from __future__ import annotations

from typing import Any

import httpx

from hosts import GROUP, Gateway
from scim_traffic import new_group, new_user, patch

WORKERS_MET = 12
"""Connections of their own, which meet both of two workers as good as surely."""


def calls(gateway: Gateway, key: str, path: str) -> set[int]:
    """Call an API over many connections, and return every status that came back."""
    gateway.host.settle()
    url = f"{gateway.api.base_url}".rstrip("/") + path
    return {
        httpx.get(url, verify=False, headers={"apikey": key}, trust_env=False).status_code
        for _ in range(WORKERS_MET)
    }


def set_active(gateway: Gateway, user: dict[str, Any], active: bool) -> None:
    answer = patch(
        gateway.scim, f"/Users/{user['id']}", {"op": "replace", "value": {"active": active}}
    )
    assert answer.status_code == 200


def membership(gateway: Gateway, group: dict[str, Any], operation: dict[str, Any]) -> None:
    assert patch(gateway.scim, f"/Groups/{group['id']}", operation).status_code == 204


def test_a_key_that_every_worker_has_in_its_cache_is_refused_at_once(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    key = gateway.give_key("alice")
    assert calls(gateway, key, "/keyed") == {200}

    set_active(gateway, user, active=False)

    assert calls(gateway, key, "/keyed") == {401}


def test_a_key_given_after_the_deactivation_is_refused_by_the_guard(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    set_active(gateway, user, active=False)
    key = gateway.give_key("alice")

    answer = gateway.call(key, "/keyed")

    assert answer.status_code == 403
    assert answer.json()["message"] == "This account is suspended"
    assert answer.headers["content-type"].startswith("application/json")
    assert calls(gateway, key, "/keyed") == {403}


def test_a_reactivation_lets_a_new_key_through_and_the_old_one_stays_dead(
    gateway: Gateway,
) -> None:
    user = new_user(gateway.scim, "alice")
    old = gateway.give_key("alice")
    set_active(gateway, user, active=False)
    set_active(gateway, user, active=True)
    new = gateway.give_key("alice")

    assert calls(gateway, old, "/keyed") == {401}
    assert calls(gateway, new, "/keyed") == {200}


def test_who_leaves_a_group_is_refused_at_once_and_let_in_again_at_once(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    group = new_group(gateway.scim, user["id"], name=GROUP)
    key = gateway.give_key("alice")
    assert calls(gateway, key, "/echo") == {200}

    membership(gateway, group, {"op": "remove", "path": f'members[value eq "{user["id"]}"]'})
    assert calls(gateway, key, "/echo") == {403}

    value = [{"value": user["id"]}]
    membership(gateway, group, {"op": "add", "path": "members", "value": value})
    assert calls(gateway, key, "/echo") == {200}


def test_a_deleted_user_is_nobody_at_once(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    key = gateway.give_key("alice")
    assert calls(gateway, key, "/keyed") == {200}

    assert gateway.scim.delete(f"/Users/{user['id']}").status_code == 204

    assert calls(gateway, key, "/keyed") == {401}
    assert gateway.consumer("alice") is None


def test_a_renamed_user_is_known_by_its_new_name_at_once(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    key = gateway.give_key("alice")
    assert gateway.call(key, "/keyed").json()["headers"]["x-consumer-username"] == "alice"

    rename = {"op": "replace", "path": "userName", "value": "alice.cooper"}
    assert patch(gateway.scim, f"/Users/{user['id']}", rename).status_code == 200

    seen = {
        gateway.call(key, "/keyed").json()["headers"]["x-consumer-username"]
        for _ in range(WORKERS_MET)
    }
    assert seen == {"alice.cooper"}


def test_a_consumer_that_is_not_scims_is_left_alone(gateway: Gateway) -> None:
    gateway.new_consumer(username="robot")
    key = gateway.give_key("robot")
    new_user(gateway.scim, "alice")

    assert calls(gateway, key, "/keyed") == {200}
