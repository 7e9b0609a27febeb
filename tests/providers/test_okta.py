"""Okta: https://developer.okta.com/docs/api/openapi/okta-scim/guides/scim-20/"""

from __future__ import annotations

import httpx
import pytest

from scim_traffic import (
    CORE_USER,
    ENTERPRISE,
    answered,
    get,
    members_of,
    new_group,
    new_user,
    patch,
    patched_user,
    refused,
    unique,
    user_body,
)

pytestmark = pytest.mark.every_host

# docs/providers/traffic.md#everything-is-put-back


def test_okta_puts_back_everything_it_got_with_one_field_changed(scim: httpx.Client) -> None:
    email = {"primary": True, "value": "a@example.com", "type": "work", "display": "a@example.com"}
    user = new_user(
        scim,
        password="s3cret",
        externalId=unique("okta"),
        name={"givenName": "A", "familyName": "F"},
        emails=[email],
        **{ENTERPRISE: {"department": "D"}},
    )
    group = new_group(scim, user["id"])
    everything = get(scim, f"/Users/{user['id']}")
    assert everything["groups"][0]["value"] == group["id"]

    everything["name"]["givenName"] = "B"
    answer = answered(scim.put(f"/Users/{user['id']}", json=everything), 200)

    assert answer["name"] == {"givenName": "B", "familyName": "F"}
    assert answer["emails"] == [email]
    assert answer["meta"]["created"] == user["meta"]["created"]
    assert [each["value"] for each in answer["groups"]] == [group["id"]]
    assert members_of(scim, group["id"]) == {user["id"]}
    assert "password" not in answer


def test_okta_puts_read_only_parts_that_are_wrong_and_they_are_ignored(scim: httpx.Client) -> None:
    user = new_user(scim)
    everything = get(scim, f"/Users/{user['id']}")
    everything |= {
        "id": "another",
        "meta": {"resourceType": "Group", "created": "nonsense"},
        "groups": [{"value": "g", "display": "G"}],
    }
    answer = answered(scim.put(f"/Users/{user['id']}", json=everything), 200)
    assert answer["id"] == user["id"]
    assert answer["meta"]["resourceType"] == "User"
    assert not answer.get("groups")


def test_a_put_without_active_does_not_let_a_disabled_user_in_again(scim: httpx.Client) -> None:
    user = new_user(scim, active=False)
    body = user_body(user["userName"], title="T")
    assert answered(scim.put(f"/Users/{user['id']}", json=body), 200)["active"] is False


def test_a_put_clears_what_it_leaves_out(scim: httpx.Client) -> None:
    user = new_user(scim, title="T", **{ENTERPRISE: {"department": "D"}})
    answer = answered(scim.put(f"/Users/{user['id']}", json=user_body(user["userName"])), 200)
    assert "title" not in answer
    assert ENTERPRISE not in answer


# docs/providers/traffic.md#a-group-is-renamed-with-its-id


def test_okta_renames_a_group_with_its_id_in_the_value(scim: httpx.Client) -> None:
    user = new_user(scim)
    group, name = new_group(scim, user["id"]), unique("renamed")
    operation = {"op": "replace", "value": {"id": group["id"], "displayName": name}}
    assert patch(scim, f"/Groups/{group['id']}", operation).status_code == 204
    renamed = get(scim, f"/Groups/{group['id']}")
    assert renamed["displayName"] == name
    assert renamed["id"] == group["id"]
    assert members_of(scim, group["id"]) == {user["id"]}


def test_another_id_in_the_value_is_ignored(scim: httpx.Client) -> None:
    group, name = new_group(scim), unique("renamed")
    operation = {"op": "replace", "value": {"id": "another", "displayName": name}}
    assert patch(scim, f"/Groups/{group['id']}", operation).status_code == 204
    assert get(scim, f"/Groups/{group['id']}")["displayName"] == name


# docs/providers/traffic.md#members-by-put


def test_okta_replaces_the_members_with_a_put(scim: httpx.Client) -> None:
    one, two = new_user(scim), new_user(scim)
    group = new_group(scim, one["id"])
    body = get(scim, f"/Groups/{group['id']}")
    body["members"] = [{"value": two["id"], "display": two["userName"]}]
    answer = answered(scim.put(f"/Groups/{group['id']}", json=body), 200)
    assert [each["value"] for each in answer["members"]] == [two["id"]]
    assert members_of(scim, group["id"]) == {two["id"]}


# docs/providers/traffic.md#a-password-at-creation


def test_okta_creates_with_a_password_and_no_groups(scim: httpx.Client) -> None:
    body = user_body(
        password="1mz050nq",
        groups=[],
        name={"givenName": "Test", "familyName": "User"},
        emails=[{"primary": True, "value": "test.user@okta.local", "type": "work"}],
        displayName="Test User",
        locale="en-US",
        externalId=unique("00ujl29u0le5T6Aj10h7"),
        active=True,
    )
    response = scim.post("/Users", json=body)
    user = answered(response, 201)
    assert "1mz050nq" not in response.text
    for name in ("userName", "name", "emails", "displayName", "locale", "externalId", "active"):
        assert user[name] == body[name]
    assert response.headers["Location"] == user["meta"]["location"]
    assert "1mz050nq" not in scim.get(f"/Users/{user['id']}?attributes=password").text


# docs/providers/traffic.md#deactivated-without-a-path


def test_okta_deactivates_and_assigns_again(scim: httpx.Client) -> None:
    user = new_user(scim)
    for active in (False, True):
        operation = {"op": "replace", "value": {"active": active}}
        assert patched_user(scim, user["id"], operation)["active"] is active


def test_okta_links_a_user_whose_name_is_taken(scim: httpx.Client) -> None:
    user = new_user(scim, active=False)
    refused(scim.post("/Users", json=user_body(user["userName"])), 409, "uniqueness")
    found = get(scim, "/Users", filter=f'userName eq "{user["userName"]}"')
    assert [each["id"] for each in found["Resources"]] == [user["id"]]


# docs/providers/traffic.md#pages-by-index


def test_okta_pages_by_index(scim: httpx.Client) -> None:
    title = unique("paged")
    wanted = {new_user(scim, title=title)["id"] for _ in range(5)}
    seen: list[str] = []
    for start in (1, 3, 5):
        page = get(scim, "/Users", filter=f'title eq "{title}"', startIndex=str(start), count="2")
        assert page["totalResults"] == 5
        assert page["startIndex"] == start
        assert page["itemsPerPage"] == len(page["Resources"]) == (1 if start == 5 else 2)
        seen += [each["id"] for each in page["Resources"]]
    assert len(seen) == 5
    assert set(seen) == wanted
    beyond = get(scim, "/Users", filter=f'title eq "{title}"', startIndex="6", count="2")
    assert (beyond["totalResults"], beyond["itemsPerPage"], beyond["Resources"]) == (5, 0, [])


def test_okta_imports_users_by_their_schema(scim: httpx.Client) -> None:
    user = new_user(scim)
    assert user["schemas"][0] == CORE_USER
    assert user["meta"]["resourceType"] == "User"
