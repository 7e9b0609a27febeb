"""A reference is used as it is shown, in filters and in the paths of a PATCH."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from scim_traffic import ENTERPRISE, get, members_of, new_group, new_user, patch, refused


def found(scim: httpx.Client, path: str, expression: str) -> set[str]:
    return {each["id"] for each in get(scim, path, filter=expression)["Resources"]}


def forms(url: str) -> list[str]:
    """Return a shown URL in each of its forms."""
    endpoint, resource_id = url.split("/")[-2:]
    relative = f"{endpoint}/{resource_id}"
    return [url, relative, f"/{relative}", f"../{relative}"]


def test_a_member_is_found_and_removed_by_its_reference_as_shown(scim: httpx.Client) -> None:
    users = [new_user(scim) for _ in range(3)]
    ids = [each["id"] for each in users]
    new_group(scim)
    for form in forms(users[0]["meta"]["location"]):
        group = new_group(scim, *ids)
        everybody = {group["id"]}
        assert found(scim, "/Groups", f'members.$ref eq "{form}" and id eq "{group["id"]}"') == (
            everybody
        )
        assert found(scim, "/Groups", f'members[$ref eq "{form}" and type eq "User"]') >= everybody
        assert not found(scim, "/Groups", f'members.$ref ne "{form}"') & everybody
        assert not found(scim, "/Groups", f'not (members.$ref eq "{form}")') & everybody
        remove = {"op": "remove", "path": f'members[$ref eq "{form}"]'}
        assert patch(scim, f"/Groups/{group['id']}", remove).status_code == 204
        assert members_of(scim, group["id"]) == set(ids[1:])


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        ('members[$ref ne "{0}"]', {0}),
        ('members[not ($ref eq "{0}")]', {0}),
        ('members[$ref eq "{0}" or $ref ew "{1.id}"]', {2}),
        ('members[$ref eq "{0}" and value eq "{1.id}"]', {0, 1, 2}),
        ('members[$ref co "/Users/"]', set()),
        ('members[$ref sw "https://elsewhere.example/"]', {0, 1, 2}),
        ('members[$ref eq "https://elsewhere.example/Users/{0.id}"]', {0, 1, 2}),
        ('members[$ref eq "Groups/{0.id}"]', {0, 1, 2}),
        ('members[$ref eq ""]', {0, 1, 2}),
        ('members.$ref eq "{0}"', {1, 2}),
        ("members[$ref pr]", set()),
        ('members[display eq "nobody"]', {0, 1, 2}),
        ('members[type eq "Group"]', {0, 1, 2}),
    ],
)
def test_a_path_removes_whom_it_selects(scim: httpx.Client, selection: str, left: set[int]) -> None:
    class Shown(str):
        id: str

    users = [new_user(scim) for _ in range(3)]
    ids = [each["id"] for each in users]
    urls = []
    for each in users:
        url = Shown(each["meta"]["location"])
        url.id = each["id"]
        urls.append(url)
    group = new_group(scim, *ids)
    remove = {"op": "remove", "path": selection.format(*urls)}
    assert patch(scim, f"/Groups/{group['id']}", remove).status_code == 204
    assert members_of(scim, group["id"]) == {ids[index] for index in left}


@pytest.mark.parametrize(
    ("path", "scim_type"),
    [
        ("members[]", "invalidPath"),
        ("members[", "invalidPath"),
        ("members[value eq]", "invalidPath"),
        ('members[shoe eq "x"]', "invalidFilter"),
        ("members[value eq 5]", "invalidFilter"),
        ("members[$ref eq 5]", "invalidFilter"),
        ("members[$ref eq true]", "invalidFilter"),
        ('members[value.x eq "a"]', "invalidFilter"),
        ('members[urn:x:y:value eq "a"]', "invalidFilter"),
        ("members.shoe", "invalidPath"),
        ("members.value", "mutability"),
        ("members[value pr].$ref", "mutability"),
    ],
)
def test_a_path_that_cannot_be_told_removes_nobody(
    scim: httpx.Client, path: str, scim_type: str
) -> None:
    group = new_group(scim, new_user(scim)["id"])
    answer = patch(scim, f"/Groups/{group['id']}", {"op": "remove", "path": path})
    refused(answer, 400, scim_type)
    assert len(members_of(scim, group["id"])) == 1


EMPTY: list[Any] = [
    *(None, "", {}, [{}], [None], [""], [[]], [{"value": ""}], [{"value": None}]),
    *([{"$ref": None}], [{"$ref": None, "value": ""}], {"value": ""}, {"value": None}),
]


@pytest.mark.parametrize("value", EMPTY)
def test_a_removal_with_an_empty_value_removes_nothing(scim: httpx.Client, value: Any) -> None:
    """A template that was not filled in must not empty a group, nor any other list."""
    person = new_user(
        scim,
        emails=[{"value": "a@example.com"}],
        roles=[{"value": "r"}],
        addresses=[{"locality": "Berlin"}],
    )
    group = new_group(scim, person["id"])
    remove = {"op": "remove", "value": value}
    refused(
        patch(scim, f"/Groups/{group['id']}", {**remove, "path": "members"}), 400, "invalidValue"
    )
    mixed = {"op": "remove", "path": "members", "value": [{"value": person["id"]}, value]}
    refused(patch(scim, f"/Groups/{group['id']}", mixed), 400, "invalidValue")
    assert members_of(scim, group["id"]) == {person["id"]}
    for name in ("emails", "roles", "addresses"):
        refused(
            patch(scim, f"/Users/{person['id']}", {**remove, "path": name}), 400, "invalidValue"
        )
    assert get(scim, f"/Users/{person['id']}")["emails"] == person["emails"]


@pytest.mark.parametrize("value", ["", [None], [""]])
def test_members_that_cannot_be_told_replace_nobody(scim: httpx.Client, value: Any) -> None:
    group = new_group(scim, new_user(scim)["id"])
    for operation in (
        {"op": "replace", "path": "members", "value": value},
        {"op": "replace", "value": {"members": value}},
    ):
        refused(patch(scim, f"/Groups/{group['id']}", operation), 400, "invalidValue")
    assert len(members_of(scim, group["id"])) == 1


def test_a_user_is_found_by_its_location_its_groups_and_its_manager(scim: httpx.Client) -> None:
    boss = new_user(scim)
    manager = {"value": boss["id"], "$ref": f"../Users/{boss['id']}"}
    user = new_user(scim, **{ENTERPRISE: {"manager": manager}})
    group = new_group(scim, user["id"])
    shown = get(scim, f"/Users/{user['id']}")
    assert shown[ENTERPRISE]["manager"]["$ref"] == boss["meta"]["location"]
    for path, url in (
        ("meta.location", user["meta"]["location"]),
        ("groups.$ref", group["meta"]["location"]),
        (f"{ENTERPRISE}:manager.$ref", boss["meta"]["location"]),
    ):
        for form in forms(url):
            assert found(scim, "/Users", f'{path} eq "{form}"') == {user["id"]}
            assert user["id"] not in found(scim, "/Users", f'not ({path} eq "{form}")')
        assert found(scim, "/Users", f'{path} co "{url[3:]}"') == {user["id"]}
        assert found(scim, "/Users", f'{path} ew "{url[-20:]}"') == {user["id"]}
        assert user["id"] in found(scim, "/Users", f'{path} sw "{url[:12]}" and {path} pr')
    assert found(scim, "/Users", f'{ENTERPRISE}:manager eq "{boss["id"]}"') == {user["id"]}
    assert found(scim, "/Users", f'manager eq "{boss["id"]}"') == {user["id"]}
    assert found(scim, "/", f'meta.location eq "{group["meta"]["location"]}"') == {group["id"]}


def test_putting_back_a_reference_as_it_is_shown_changes_nothing(scim: httpx.Client) -> None:
    boss = new_user(scim)
    manager = {"value": boss["id"], "$ref": f"Users/{boss['id']}"}
    user = new_user(scim, **{ENTERPRISE: {"manager": manager}})
    again = scim.put(f"/Users/{user['id']}", json=user).json()
    assert again["meta"]["version"] == user["meta"]["version"]
