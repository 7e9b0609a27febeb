"""Microsoft Entra: https://learn.microsoft.com/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from scim_traffic import (
    CORE_GROUP,
    CORE_USER,
    ENTERPRISE,
    KONG,
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

# docs/providers/traffic.md#names-in-any-case


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Replace", "path": "displayName", "value": "B"},
        {"op": "REPLACE", "path": "DISPLAYNAME", "value": "B"},
        {"op": "Add", "path": f"{CORE_USER}:displayname", "value": "B"},
        {"Op": "replace", "Path": "displayName", "Value": "B"},
    ],
)
def test_entra_writes_operations_and_paths_in_any_case(
    scim: httpx.Client, operation: dict[str, Any]
) -> None:
    user = new_user(scim, displayName="A")
    assert patched_user(scim, user["id"], operation)["displayName"] == "B"


def test_entra_writes_attribute_names_in_any_case(scim: httpx.Client) -> None:
    body = {"schemas": [CORE_USER.upper()], "USERNAME": unique("u"), "Name": {"GIVENNAME": "A"}}
    body["schemas"] = [CORE_USER]
    user = answered(scim.post("/Users", json=body), 201)
    assert user["name"] == {"givenName": "A"}


# docs/providers/traffic.md#booleans-as-strings


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "Replace", "value": {"active": "False"}},
        {"op": "Add", "path": "active", "value": "false"},
        {"op": "Replace", "path": "active", "value": [{"$ref": None, "value": "False"}]},
    ],
)
def test_entra_disables_with_a_string_and_gets_a_boolean(
    scim: httpx.Client, operation: dict[str, Any]
) -> None:
    user = new_user(scim)
    assert user["active"] is True
    assert patched_user(scim, user["id"], operation)["active"] is False
    assert get(scim, f"/Users/{user['id']}")["active"] is False


def test_entra_creates_with_booleans_as_strings(scim: httpx.Client) -> None:
    emails = [{"value": "a@example.com", "type": "work", "primary": "True"}]
    user = new_user(scim, active="False", emails=emails)
    assert user["active"] is False
    assert user["emails"][0]["primary"] is True


def test_entra_selects_the_primary_role_by_a_string(scim: httpx.Client) -> None:
    user = new_user(scim)
    path = 'roles[primary eq "True"].value'
    for role in ("reader", "admin"):
        changed = patched_user(scim, user["id"], {"op": "Add", "path": path, "value": role})
        assert changed["roles"] == [{"value": role, "primary": True}]


def test_what_is_no_boolean_is_refused(scim: httpx.Client) -> None:
    refused(scim.post("/Users", json=user_body(active="perhaps")), 400, "invalidValue")
    user = new_user(scim)
    operation = {"op": "replace", "path": "active", "value": "off"}
    refused(patch(scim, f"/Users/{user['id']}", operation), 400, "invalidValue")


# docs/providers/traffic.md#members-in-the-value


@pytest.fixture
def three(scim: httpx.Client) -> list[str]:
    return [new_user(scim)["id"] for _ in range(3)]


def test_entra_removes_the_member_it_names_in_the_value(
    scim: httpx.Client, three: list[str]
) -> None:
    group = new_group(scim, *three)
    operation = {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": three[0]}]}
    assert patch(scim, f"/Groups/{group['id']}", operation).status_code == 204
    assert members_of(scim, group["id"]) == set(three[1:])


def test_entra_removes_all_members_without_a_value(scim: httpx.Client, three: list[str]) -> None:
    group = new_group(scim, *three)
    operation = {"op": "Remove", "path": "members"}
    assert patch(scim, f"/Groups/{group['id']}", operation).status_code == 204
    assert members_of(scim, group["id"]) == set()


def test_entra_removes_nobody_with_an_empty_list(scim: httpx.Client, three: list[str]) -> None:
    group = new_group(scim, *three)
    operation = {"op": "Remove", "path": "members", "value": []}
    assert patch(scim, f"/Groups/{group['id']}", operation).status_code == 204
    assert members_of(scim, group["id"]) == set(three)


def test_entra_adds_members_with_a_null_reference(scim: httpx.Client, three: list[str]) -> None:
    group = new_group(scim, three[0])
    value = [{"$ref": None, "value": each} for each in three[1:]]
    operation = {"op": "Add", "path": "members", "value": value}
    assert patch(scim, f"/Groups/{group['id']}", operation).status_code == 204
    assert members_of(scim, group["id"]) == set(three)


def test_a_member_that_is_removed_and_added_in_one_patch_stays(
    scim: httpx.Client, three: list[str]
) -> None:
    group = new_group(scim, *three)
    member = [{"value": three[0]}]
    patch(
        scim,
        f"/Groups/{group['id']}",
        {"op": "Remove", "path": "members", "value": member},
        {"op": "Add", "path": "members", "value": member},
    )
    assert members_of(scim, group["id"]) == set(three)


# docs/providers/traffic.md#entries-that-are-not-there


def test_entra_writes_a_work_address_that_is_not_there(scim: httpx.Client) -> None:
    user = new_user(scim)
    path = 'emails[type eq "work"].value'
    for value in ("a@example.com", "b@example.com"):
        changed = patched_user(scim, user["id"], {"op": "Replace", "path": path, "value": value})
        assert changed["emails"] == [{"type": "work", "value": value}]


def test_entra_builds_one_address_from_several_operations(scim: httpx.Client) -> None:
    user = new_user(scim)
    parts = {"locality": "Berlin", "country": "DE", "postalCode": "10115"}
    operations = [
        {"op": "Add", "path": f'addresses[type eq "work"].{name}', "value": value}
        for name, value in parts.items()
    ]
    assert patched_user(scim, user["id"], *operations)["addresses"] == [{"type": "work", **parts}]


def test_entra_clears_a_number_that_is_not_there_and_nothing_appears(scim: httpx.Client) -> None:
    user = new_user(scim)
    operation = {"op": "Replace", "path": 'phoneNumbers[type eq "mobile"].value', "value": ""}
    assert "phoneNumbers" not in patched_user(scim, user["id"], operation)


# docs/providers/traffic.md#a-manager-as-a-string


@pytest.mark.parametrize("value", ["m-1", {"value": "m-1"}, [{"$ref": None, "value": "m-1"}]])
@pytest.mark.parametrize("op", ["Add", "Replace"])
def test_entra_sets_a_manager_in_any_form(scim: httpx.Client, op: str, value: Any) -> None:
    user = new_user(scim)
    operation = {"op": op, "path": f"{ENTERPRISE}:manager", "value": value}
    assert patched_user(scim, user["id"], operation)[ENTERPRISE]["manager"]["value"] == "m-1"


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Replace", "path": f"{ENTERPRISE}:manager", "value": ""},
        {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": ""},
        {"op": "Replace", "path": f"{ENTERPRISE}:manager", "value": {"value": ""}},
        {"op": "Remove", "path": f"{ENTERPRISE}:manager"},
        {"op": "Remove", "path": f"{ENTERPRISE}:manager", "value": ""},
        {"op": "Replace", "value": {f"{ENTERPRISE}:manager": ""}},
    ],
)
def test_entra_clears_a_manager(scim: httpx.Client, operation: dict[str, Any]) -> None:
    user = new_user(scim, **{ENTERPRISE: {"department": "D", "manager": {"value": "m-1"}}})
    assert patched_user(scim, user["id"], operation)[ENTERPRISE] == {"department": "D"}


def test_entra_creates_with_a_manager_as_a_string(scim: httpx.Client) -> None:
    user = new_user(scim, **{ENTERPRISE: {"manager": "m-1"}})
    assert user[ENTERPRISE]["manager"]["value"] == "m-1"


# docs/providers/traffic.md#keys-that-are-paths


def test_entra_replaces_dotted_qualified_and_filtered_keys_without_a_path(
    scim: httpx.Client,
) -> None:
    user = new_user(scim, name={"givenName": "A", "familyName": "F"})
    value = {
        "name.givenName": "B",
        f"{ENTERPRISE}:employeeNumber": "7",
        'emails[type eq "work"].value': "b@example.com",
        f"{CORE_USER}:nickName": "Bee",
        ENTERPRISE: {"costCenter": "C"},
    }
    changed = patched_user(scim, user["id"], {"op": "Replace", "value": value})
    assert changed["name"] == {"givenName": "B", "familyName": "F"}
    assert changed[ENTERPRISE] == {"employeeNumber": "7", "costCenter": "C"}
    assert changed["emails"] == [{"type": "work", "value": "b@example.com"}]
    assert changed["nickName"] == "Bee"


# docs/providers/traffic.md#searches-for-nobody
# docs/providers/traffic.md#spaces-as-plus


def test_entra_tests_the_connection_with_a_name_that_nobody_has(scim: httpx.Client) -> None:
    body = answered(scim.get(f'/Users?filter=userName eq "{unique("nobody")}"'), 200)
    assert body["totalResults"] == 0
    assert body["Resources"] == []


@pytest.mark.parametrize("space", ["+", "%20"])
def test_entra_finds_a_group_whatever_the_case_and_without_its_members(
    scim: httpx.Client, space: str
) -> None:
    name = f"Ops {unique('Team')}"
    group = new_group(scim, new_user(scim)["id"], name=name)
    query = f'displayName eq "{name.upper()}"'.replace(" ", space).replace('"', "%22")
    body = answered(scim.get(f"/Groups?filter={query}&excludedAttributes=members"), 200)
    assert [each["id"] for each in body["Resources"]] == [group["id"]]
    assert body["Resources"][0]["displayName"] == name
    assert "members" not in body["Resources"][0]


# docs/providers/traffic.md#schemas-of-its-own


def test_entra_lists_schemas_of_its_own(scim: httpx.Client) -> None:
    own = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
    body = {"schemas": [CORE_GROUP, own], "displayName": unique("g"), "externalId": unique("x")}
    group = answered(scim.post("/Groups", json=body), 201)
    assert group["schemas"] == [CORE_GROUP]


# docs/providers/traffic.md#disabled-users-are-looked-up


def test_a_disabled_user_stays_readable_and_findable(scim: httpx.Client) -> None:
    user = new_user(scim)
    patched_user(scim, user["id"], {"op": "Replace", "path": "active", "value": "False"})
    assert get(scim, f"/Users/{user['id']}")["active"] is False
    found = get(scim, "/Users", filter=f'userName eq "{user["userName"]}"')
    assert [each["active"] for each in found["Resources"]] == [False]


# docs/providers/traffic.md#answers-to-a-patch


def test_a_group_patch_is_answered_with_nothing_and_a_user_patch_with_the_user(
    scim: httpx.Client,
) -> None:
    group = new_group(scim)
    operation = {"op": "Replace", "path": "displayName", "value": unique("renamed")}
    response = patch(scim, f"/Groups/{group['id']}", operation)
    assert response.status_code == 204
    assert response.content == b""
    user = new_user(scim)
    operation = {"op": "Replace", "path": "title", "value": "T"}
    changed = patched_user(scim, user["id"], operation)
    assert changed["userName"] == user["userName"]


def test_a_group_patch_that_asks_for_attributes_gets_them(scim: httpx.Client) -> None:
    user, group = new_user(scim), new_group(scim)
    response = patch(
        scim,
        f"/Groups/{group['id']}",
        {"op": "Add", "path": "members", "value": [{"value": user["id"]}]},
        params={"attributes": "members,displayName"},
    )
    body = answered(response, 200)
    assert [each["value"] for each in body["members"]] == [user["id"]]
    assert body["displayName"] == group["displayName"]
    assert "meta" not in body


# docs/providers/traffic.md#roles-as-json-text


def test_entra_sends_roles_as_json_text_and_they_are_kept_as_sent(scim: httpx.Client) -> None:
    roles = [
        {"value": f'{{"id":"{number}","value":"{name}","displayName":"The {name}"}}'}
        for number, name in enumerate(("User", "Admin"))
    ]
    user = new_user(scim, roles=roles[:1])
    assert user["roles"] == roles[:1]
    operation = {"op": "Add", "path": "roles", "value": roles[1:]}
    assert patched_user(scim, user["id"], operation)["roles"] == roles
    shown = get(scim, f"/Users/{user['id']}", attributes=f"{KONG}:accessGroups")
    assert shown[KONG]["accessGroups"] == ["role:Admin", "role:User"]
