"""Who has which access and why, and how people are found by the beginning of a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from endpoint_support import answered, refused

from hosts import Gateway
from scim_traffic import new_group, new_user, patched_user


def people(gateway: Gateway, **query: Any) -> list[str]:
    """Return the userName of everybody whom the pages of a search list, in their order."""
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = answered(gateway.scim.get("/People", params={**query, "cursor": cursor}))
        assert len(page["people"]) <= int(query.get("count", 50))
        found += [each["userName"] for each in page["people"]]
        cursor = page["next"]
    return found


def person(gateway: Gateway, user_id: str) -> dict[str, Any]:
    return answered(gateway.scim.get("/People", params={"id": user_id}))


def groups(gateway: Gateway, user_id: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in person(gateway, user_id)["groups"]}


def test_people_are_found_by_the_beginning_of_any_of_their_names(gateway: Gateway) -> None:
    new_user(gateway.scim, "alice@example.com", displayName="Zoe Alder")
    new_user(gateway.scim, "bob@example.com", displayName="Alison Brown")
    new_user(gateway.scim, "carol", name={"familyName": "Alvarez", "givenName": "Carol"})
    new_user(gateway.scim, "dave", emails=[{"value": "al.dave@example.com", "type": "work"}])
    new_user(gateway.scim, "erin", displayName="Not Al")

    assert people(gateway, search="AL") == ["alice@example.com", "bob@example.com", "carol", "dave"]
    assert people(gateway, search="zoe a") == ["alice@example.com"]
    assert people(gateway, search="nobody") == []


def test_a_person_who_matches_in_several_ways_is_listed_once(gateway: Gateway) -> None:
    emails = [{"value": "kim@b.example", "type": "home"}, {"value": "kim@a.example"}]
    new_user(gateway.scim, "kim", displayName="Kim", name={"givenName": "Kim"}, emails=emails)
    new_user(gateway.scim, "lee", emails=emails)

    assert people(gateway, search="kim") == ["kim", "lee"]


def test_groups_are_not_found(gateway: Gateway) -> None:
    new_group(gateway.scim, name="alpha")
    assert people(gateway, search="al") == []


@pytest.mark.parametrize("search", ["", "user"])
def test_pages_have_everybody_once_while_people_come_and_go(gateway: Gateway, search: str) -> None:
    first = [new_user(gateway.scim, f"user-{n}", displayName=f"User {n}") for n in range(7)]
    page = answered(gateway.scim.get("/People", params={"search": search, "count": 3}))
    assert [each["userName"] for each in page["people"]] == ["user-0", "user-1", "user-2"]

    gateway.scim.delete(f"/Users/{first[2]['id']}").raise_for_status()
    gateway.scim.delete(f"/Users/{first[4]['id']}").raise_for_status()
    rest = people_behind(gateway, search, page["next"])

    assert rest == ["user-3", "user-5", "user-6"]


def people_behind(gateway: Gateway, search: str, cursor: str) -> list[str]:
    query = {"search": search, "count": 2, "cursor": cursor}
    page = answered(gateway.scim.get("/People", params=query))
    found = [each["userName"] for each in page["people"]]
    return found + (people_behind(gateway, search, page["next"]) if page["next"] else [])


def test_nobody_of_another_tenant_is_found(gateway: Gateway) -> None:
    other = new_user(gateway.other_scim, "other")
    new_user(gateway.scim, "otto")

    assert people(gateway) == people(gateway, search="ot") == ["otto"]
    refused(gateway.scim.get("/People", params={"id": other["id"]}), 404)


def test_each_group_says_by_whom_and_by_which_rule_the_person_has_it(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(groups={"map": {"Staff": "employees"}, "pattern": "kong-(.*)"})
    user = new_user(gateway.scim, "alice", roles=[{"value": "Auditor"}])
    inner = new_group(gateway.scim, user["id"], name="Team")
    outer = new_group(gateway.scim, inner["id"], name="kong-admins")
    new_group(gateway.scim, outer["id"], name="Staff")

    found = groups(gateway, user["id"])

    assert all(each["wanted"] and each["found"] for each in found.values())
    reasons = {
        name: [(reason["rule"], reason["via"]) for reason in each["reasons"]]
        for name, each in found.items()
    }
    assert reasons == {
        "Team": [("name", ["Team"])],
        "admins": [("pattern", ["Team", "kong-admins"])],
        "employees": [("map", ["Team", "kong-admins", "Staff"])],
        "role:Auditor": [("role", [])],
    }
    assert "'kong-(.*)'" in found["admins"]["reasons"][0]["detail"]


def test_a_group_that_two_others_give_has_both_reasons(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(groups={"map": {"One": "same", "Two": "same"}, "allow": ["same"]})
    user = new_user(gateway.scim)
    for name in ("One", "Two"):
        new_group(gateway.scim, user["id"], name=name)

    (same,) = groups(gateway, user["id"]).values()

    assert [reason["via"] for reason in same["reasons"]] == [["One"], ["Two"]]


def test_what_others_changed_in_kong_shows_as_found_and_not_wanted_or_the_reverse(
    gateway: Gateway,
) -> None:
    if gateway.host.dbless:
        pytest.skip("nobody else can change the memory of a DB-less Kong")
    user = new_user(gateway.scim)
    new_group(gateway.scim, user["id"], name="given")
    consumer = user["id"]
    (acl,) = gateway.admin.get(f"/consumers/{consumer}/acls").json()["data"]
    gateway.admin.delete(f"/consumers/{consumer}/acls/{acl['id']}").raise_for_status()
    gateway.admin.post(f"/consumers/{consumer}/acls", json={"group": "by-hand"}).raise_for_status()

    found = groups(gateway, user["id"])

    assert {name: (each["wanted"], each["found"]) for name, each in found.items()} == {
        "given": (True, False),
        "by-hand": (False, True),
    }
    assert found["by-hand"]["reasons"] == []


@pytest.mark.every_host
def test_credentials_are_shown_by_kind_and_age_and_never_by_value(gateway: Gateway) -> None:
    user = new_user(gateway.scim)
    key = gateway.give_key(user["id"], "a-secret-key-of-this-test")

    answer = gateway.scim.get("/People", params={"id": user["id"]})

    (credential,) = answered(answer)["credentials"]
    assert credential["kind"] == "keyauth_credentials"
    assert credential["created"].endswith("Z")
    assert credential["expires"] is None
    assert key not in answer.text


def test_a_suspended_person_has_reasons_and_no_groups(gateway: Gateway) -> None:
    user = new_user(gateway.scim)
    new_group(gateway.scim, user["id"], name="team")
    patched_user(gateway.scim, user["id"], {"op": "replace", "path": "active", "value": False})

    found = person(gateway, user["id"])

    assert (found["active"], found["suspended"]) == (False, True)
    (group,) = found["groups"]
    assert (group["wanted"], group["found"], len(group["reasons"])) == (False, False, 1)


def test_the_resource_is_the_one_that_scim_answers(gateway: Gateway) -> None:
    user = new_user(gateway.scim, displayName="Alice")
    new_group(gateway.scim, user["id"])

    found = person(gateway, user["id"])

    assert found["resource"] == gateway.scim.get(f"/Users/{user['id']}").json()
    assert found["consumer"]["id"] == user["id"]
    assert f"scim-user:{user['id']}" in found["consumer"]["tags"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"id": "nobody"}, 404),
        ({"id": ""}, 200),  # an empty parameter is none
        ({"search": "x" * 129}, 400),
        ({"search": "nul\0"}, 400),
        ({"cursor": "%%%"}, 400),
        ({"cursor": "bnVsbA"}, 400),
        ({"cursor": "WyJhIiwiYiIsOTld"}, 400),
        ({"count": "-1"}, 400),
        ({"count": "many"}, 400),
    ],
)
def test_what_cannot_be_asked_is_refused(
    shared_gateway: Gateway, query: dict[str, str], status: int
) -> None:
    assert shared_gateway.scim.get("/People", params=query).status_code == status


def test_only_an_admin_may_look_people_up(
    gateway_with: Callable[..., Gateway],
) -> None:
    token = {"name": "idp", "value": "{vault://env/scim-token-a}", "scopes": ["scim:read"]}
    gateway = gateway_with(tokens=[token])

    assert "scim:admin" in refused(gateway.scim.get("/People"), 403)
    assert "scim:admin" in refused(gateway.scim.post("/Mapping", json={"groups": {}}), 403)
