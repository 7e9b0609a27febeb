"""Bulk (RFC 7644 §3.7): several operations in one request, each committed on its own."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from scim_traffic import (
    BULK,
    CORE_GROUP,
    KONG,
    answered,
    get,
    members_of,
    new_group,
    new_user,
    patch,
    refused,
    unique,
    user_body,
)

pytestmark = pytest.mark.every_host

Operation = dict[str, Any]


def bulk(scim: httpx.Client, *operations: Operation, **members: Any) -> list[Operation]:
    body = {"schemas": [BULK], "Operations": operations, **members}
    results: list[Operation] = answered(scim.post("/Bulk", json=body), 200)["Operations"]
    return results


def post_user(bulk_id: str, **attributes: Any) -> Operation:
    return {
        "method": "POST",
        "path": "/Users",
        "bulkId": bulk_id,
        "data": user_body(**attributes),
    }


def id_in(result: Operation) -> str:
    return str(result["location"]).rsplit("/", 1)[-1]


def test_operations_of_every_method_in_one_request(scim: httpx.Client) -> None:
    one, two, three = (new_user(scim) for _ in range(3))
    results = bulk(
        scim,
        post_user("a"),
        {"method": "PUT", "path": f"/Users/{one['id']}", "data": user_body(one["userName"])},
        {
            "method": "PATCH",
            "path": f"/Users/{two['id']}",
            "data": {"Operations": [{"op": "Replace", "path": "active", "value": "False"}]},
        },
        {"method": "DELETE", "path": f"/Users/{three['id']}"},
    )
    assert [each["status"] for each in results] == ["201", "200", "200", "204"]
    assert get(scim, f"/Users/{id_in(results[0])}")["active"] is True
    assert get(scim, f"/Users/{two['id']}")["active"] is False
    assert scim.get(f"/Users/{three['id']}").status_code == 404


def test_a_group_names_users_that_the_same_request_creates(scim: httpx.Client) -> None:
    members = [{"value": "bulkId:a"}, {"value": "bulkId:b"}]
    group = {"schemas": [CORE_GROUP], "displayName": unique("g"), "members": members}
    results = bulk(
        scim,
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": group},
        post_user("a"),
        post_user("b"),
    )
    assert [each["bulkId"] for each in results] == ["g", "a", "b"]
    assert [each["status"] for each in results] == ["201"] * 3
    assert members_of(scim, id_in(results[0])) == {id_in(results[1]), id_in(results[2])}


def test_a_reference_to_what_was_not_created_fails_alone(scim: httpx.Client) -> None:
    group = {
        "schemas": [CORE_GROUP],
        "displayName": unique("g"),
        "members": [{"value": "bulkId:absent"}],
    }
    results = bulk(
        scim,
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": group},
        post_user("a"),
    )
    assert [each["status"] for each in results] == ["409", "201"]


def test_an_operation_that_cannot_be_read_fails_alone(scim: httpx.Client) -> None:
    results = bulk(
        scim,
        post_user("a", active="perhaps"),
        {
            "method": "PATCH",
            "path": "/Users/x",
            "data": {"Operations": [{"op": "add", "path": "?"}]},
        },
        {"method": "POST", "path": "/Shoes", "bulkId": "s", "data": {}},
        {"method": "BREW", "path": "/Users"},
        {"method": "POST", "path": "/Users", "bulkId": "n"},
        post_user("b"),
    )
    assert [each["status"] for each in results] == ["400", "400", "404", "400", "400", "201"]
    for failed in results[:5]:
        assert failed["response"]["status"] == failed["status"]
        assert failed["response"]["detail"]
    assert results[0]["response"]["scimType"] == "invalidValue"
    assert "active" in results[0]["response"]["detail"]


def test_each_operation_is_its_own_commit(scim: httpx.Client) -> None:
    name = unique("once")
    results = bulk(
        scim,
        post_user("a", user_name=name),
        post_user("b", user_name=name),
        post_user("c"),
    )
    assert [each["status"] for each in results] == ["201", "409", "201"]
    assert results[1]["response"]["scimType"] == "uniqueness"
    assert get(scim, "/Users", filter=f'userName eq "{name}"')["totalResults"] == 1


def test_fail_on_errors_stops(scim: httpx.Client) -> None:
    bad = {"method": "DELETE", "path": "/Users/absent"}
    results = bulk(scim, bad, post_user("a"), bad, post_user("b"), failOnErrors=2)
    assert [each["status"] for each in results] == ["404", "201", "404"]


def test_the_version_of_an_operation_is_its_if_match(scim: httpx.Client) -> None:
    user = new_user(scim)
    operation = {
        "method": "PATCH",
        "path": f"/Users/{user['id']}",
        "version": user["meta"]["version"],
        "data": {"Operations": [{"op": "add", "path": "title", "value": "T"}]},
    }
    results = bulk(scim, operation, operation)
    assert [each["status"] for each in results] == ["200", "412"]


def test_too_many_operations_are_413_with_the_limit(scim: httpx.Client) -> None:
    limit = get(scim, "/ServiceProviderConfig")["bulk"]["maxOperations"]
    operations = [{"method": "DELETE", "path": "/Users/absent"}] * (limit + 1)
    body = {"schemas": [BULK], "Operations": operations}
    assert str(limit) in refused(scim.post("/Bulk", json=body), 413)


def post_group(bulk_id: str, *members: str) -> Operation:
    data = {
        "schemas": [CORE_GROUP],
        "displayName": unique(bulk_id),
        "members": [{"value": f"bulkId:{each}"} for each in members],
    }
    return {"method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": data}


def test_groups_of_one_request_may_be_in_each_other(scim: httpx.Client) -> None:
    """RFC 7644 §3.7.1: circular references are resolved."""
    results = bulk(
        scim,
        post_group("a", "c", "ann"),
        post_group("b", "a", "ben"),
        post_group("c", "b"),
        post_user("ann"),
        post_user("ben"),
    )
    assert [each["status"] for each in results] == ["201"] * 5
    a, b, c, ann, ben = map(id_in, results)
    assert members_of(scim, a) == {c, ann}
    assert members_of(scim, b) == {a, ben}
    assert members_of(scim, c) == {b}
    for person, direct in ((ann, a), (ben, b)):
        groups = get(scim, f"/Users/{person}")["groups"]
        kinds = {each["value"]: each["type"] for each in groups}
        assert kinds == {each: "direct" if each == direct else "indirect" for each in (a, b, c)}
        assert len(groups) == len(kinds)
    versions = [get(scim, f"/Groups/{each}")["meta"]["version"] for each in (a, b, c)]
    assert [each["version"] for each in results[:3]] == versions


def test_a_circle_with_a_group_that_is_not_created_says_so(scim: httpx.Client) -> None:
    refused_one = post_group("b", "a")
    refused_one["data"]["displayName"] = ""
    results = bulk(
        scim, post_group("a", "b"), refused_one, post_group("c", "d"), post_group("d", "c")
    )
    assert [each["status"] for each in results] == ["409", "400", "201", "201"]


def test_groups_that_are_put_into_each_other_one_by_one_are_a_circle(scim: httpx.Client) -> None:
    ann = new_user(scim)["id"]
    inner, outer = new_group(scim, ann)["id"], new_group(scim)["id"]
    for above, below in ((outer, inner), (inner, outer)):
        operation = {"op": "add", "path": "members", "value": [{"value": below}]}
        assert patch(scim, f"/Groups/{above}", operation).status_code == 204
    shown = get(scim, f"/Users/{ann}", attributes=f"groups,{KONG}:accessGroups")
    assert {each["value"] for each in shown["groups"]} == {inner, outer}
    assert len(shown[KONG]["accessGroups"]) == 2
    assert scim.delete(f"/Groups/{inner}").status_code == 204
    assert get(scim, f"/Users/{ann}").get("groups") is None
