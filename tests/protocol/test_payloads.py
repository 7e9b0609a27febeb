"""One reading of payloads: in POST, PUT, PATCH and Bulk a key and a value mean the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from scim_traffic import (
    BULK,
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
    refused,
    unique,
    user_body,
)

DRAFT_USER = "urn:scim:schemas:core:2.0"
DRAFT_ENTERPRISE = "urn:scim:schemas:extension:enterprise:2.0"

Send = Callable[..., httpx.Response]


def put(scim: httpx.Client, user: dict[str, Any], **attributes: Any) -> httpx.Response:
    return scim.put(f"/Users/{user['id']}", json=user_body(user["userName"], **attributes))


def patched(scim: httpx.Client, user: dict[str, Any], **attributes: Any) -> httpx.Response:
    return patch(scim, f"/Users/{user['id']}", {"op": "replace", "value": attributes})


def by_path(scim: httpx.Client, user: dict[str, Any], **attributes: Any) -> httpx.Response:
    operations = [{"op": "add", "path": key, "value": each} for key, each in attributes.items()]
    return patch(scim, f"/Users/{user['id']}", *operations)


def in_bulk(scim: httpx.Client, *operations: dict[str, Any]) -> httpx.Response:
    """Send a bulk request, and return the one result as if it was an answer of its own."""
    body = {"schemas": [BULK], "Operations": operations}
    (result,) = answered(scim.post("/Bulk", json=body), 200)["Operations"]
    status, error = int(result["status"]), result.get("response")
    headers = {"Content-Type": "application/scim+json"}
    return httpx.Response(status, json=error or {"schemas": [BULK], **result}, headers=headers)


def bulk_put(scim: httpx.Client, user: dict[str, Any], **attributes: Any) -> httpx.Response:
    data = user_body(user["userName"], **attributes)
    return in_bulk(scim, {"method": "PUT", "path": f"/Users/{user['id']}", "data": data})


def bulk_patch(scim: httpx.Client, user: dict[str, Any], **attributes: Any) -> httpx.Response:
    data = {"Operations": [{"op": "replace", "value": attributes}]}
    return in_bulk(scim, {"method": "patch", "path": f"/Users/{user['id']}", "data": data})


CHANGES = [put, patched, bulk_put, bulk_patch]
change = pytest.mark.parametrize("change", CHANGES, ids=lambda each: str(each.__name__))


def is_in(scim: httpx.Client, user: dict[str, Any]) -> bool:
    """Tell whether the gateway lets a person in, which must be what SCIM shows."""
    shown = get(scim, f"/Users/{user['id']}", attributes=f"active,{KONG}:suspended")
    suspended = shown[KONG]["suspended"]
    assert suspended is not shown.get("active", False)
    return not suspended


# -- Absent is not active ---------------------------------------------------


@change
@pytest.mark.parametrize(
    "attributes",
    [
        {"title": "T"},
        {"active": None},
        {"ACTIVE": None},
        {"active": ""},
        {"active": " "},
        {"active": []},
        {"active": [{"value": None}]},
        {"active": [{"$ref": None, "Value": ""}]},
        {"active": {"value": None}},
        {f"{CORE_USER}:active": None},
        {f"{CORE_USER.upper()}:Active": [{"value": None}]},
        {CORE_USER: {"active": None}},
        {f"{DRAFT_USER}:active": None},
    ],
)
def test_what_says_nothing_of_active_leaves_it_as_it_is(
    scim: httpx.Client, change: Send, attributes: dict[str, Any]
) -> None:
    for active in (False, True):
        user = new_user(scim, active=active)
        answered(change(scim, user, **attributes), 200)
        assert is_in(scim, user) is active


@change
@pytest.mark.parametrize("active", ["no", "null", 0, 1, [True, True], [{"a": True}], "1"])
def test_what_is_neither_true_nor_false_is_refused_and_nothing_changes(
    scim: httpx.Client, change: Send, active: Any
) -> None:
    user = new_user(scim, active=False)
    refused(change(scim, user, active=active), 400, "invalidValue")
    assert not is_in(scim, user)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "active"},
        {"op": "Remove", "path": f"{CORE_USER}:Active"},
        {"op": "remove", "path": "active", "value": True},
        {"op": "replace", "path": "active", "value": None},
        {"op": "replace", "path": "active", "value": [{"value": None}]},
        {"op": "add", "path": "active", "value": None},
        {"op": "add", "path": "active", "value": [{"$ref": None, "value": None}]},
        {"op": "replace", "path": CORE_USER, "value": {"active": None}},
        {"op": "replace", "value": {"active": None}},
    ],
)
def test_no_patch_without_a_true_active_lifts_a_suspension(
    scim: httpx.Client, operation: dict[str, Any]
) -> None:
    user = new_user(scim, active=False)
    answered(patch(scim, f"/Users/{user['id']}", operation), 200)
    assert not is_in(scim, user)
    data = {"Operations": [operation]}
    result = in_bulk(scim, {"method": "PATCH", "path": f"/Users/{user['id']}", "data": data})
    assert result.status_code == 200
    assert not is_in(scim, user)
    answered(patched(scim, user, active="True"), 200)
    assert is_in(scim, user)


def test_a_person_whose_active_is_removed_is_out(scim: httpx.Client) -> None:
    user = new_user(scim)
    answered(patch(scim, f"/Users/{user['id']}", {"op": "remove", "path": "active"}), 200)
    assert "active" not in get(scim, f"/Users/{user['id']}")
    assert not is_in(scim, user)
    answered(put(scim, user, title="T"), 200)
    assert not is_in(scim, user)


def test_a_suspended_person_who_is_created_again_stays_out(scim: httpx.Client) -> None:
    user = new_user(scim, active=False)
    for body in ({}, {"active": True}, {f"{CORE_USER}:active": True}):
        refused(scim.post("/Users", json=user_body(user["userName"], **body)), 409, "uniqueness")
    assert not is_in(scim, user)


@pytest.mark.parametrize("active", [None, "", [], {}, [{"value": None}]])
def test_who_is_created_without_active_is_active(scim: httpx.Client, active: Any) -> None:
    assert is_in(scim, new_user(scim))
    assert is_in(scim, new_user(scim, active=active))


# -- Keys -------------------------------------------------------------------

SPELLINGS = [
    ({f"{CORE_USER}:active": False}, {"active": False}),
    ({f"{CORE_USER.upper()}:ACTIVE": "False"}, {"active": False}),
    ({CORE_USER: {"active": False, "Title": "T"}}, {"active": False, "title": "T"}),
    ({f"{DRAFT_USER}:User:active": False}, {"active": False}),
    ({f"{DRAFT_USER}:active": False}, {"active": False}),
    ({" active ": False}, {"active": False}),
    ({"active.value": False}, {"active": False}),
    ({"name.givenName": "G"}, {"name": {"givenName": "G"}}),
    ({"NAME.GIVENNAME": "G"}, {"name": {"givenName": "G"}}),
    ({f"{CORE_USER}:name.givenName": "G"}, {"name": {"givenName": "G"}}),
    (
        {"name": {"familyName": "F"}, "name.givenName": "G"},
        {"name": {"familyName": "F", "givenName": "G"}},
    ),
    ({"name": {f"{CORE_USER}:name.givenName": "G"}}, {"name": {"givenName": "G"}}),
    ({"name": {"name.givenName": "G"}}, {"name": {"givenName": "G"}}),
    ({f"{ENTERPRISE}:department": "D"}, {ENTERPRISE: {"department": "D"}}),
    ({f"{ENTERPRISE}:manager.value": "m"}, {ENTERPRISE: {"manager": {"value": "m"}}}),
    ({f"{ENTERPRISE}:manager": "m"}, {ENTERPRISE: {"manager": {"value": "m"}}}),
    ({ENTERPRISE.upper(): {"DEPARTMENT": "D"}}, {ENTERPRISE: {"department": "D"}}),
    ({ENTERPRISE: {f"{ENTERPRISE}:department": "D"}}, {ENTERPRISE: {"department": "D"}}),
    ({ENTERPRISE: {f"{CORE_USER}:active": False}}, {"active": False}),
    ({f"{DRAFT_ENTERPRISE}:department": "D"}, {ENTERPRISE: {"department": "D"}}),
    ({DRAFT_ENTERPRISE: {"department": "D"}}, {ENTERPRISE: {"department": "D"}}),
    ({"emails.value": "a@b"}, {"emails": [{"value": "a@b"}]}),
    ({'emails[type eq "work"].value': "a@b"}, {"emails": [{"value": "a@b", "type": "work"}]}),
    (
        {'emails[type eq "work" and primary eq "True"].value': "a@b"},
        {"emails": [{"value": "a@b", "type": "work", "primary": True}]},
    ),
    (
        {'addresses[type eq "work"].locality': "L", 'addresses[type eq "work"].country': "DE"},
        {"addresses": [{"locality": "L", "country": "DE", "type": "work"}]},
    ),
    ({'roles[value eq "r"]': {"display": "R"}}, {"roles": [{"value": "r", "display": "R"}]}),
    ({"title": "T", f"{CORE_USER}:title": "T"}, {"title": "T"}),
    ({"title": "T", f"{CORE_USER}:title": None}, {"title": "T"}),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "meant"), SPELLINGS)
def test_a_key_means_the_same_in_every_spelling_and_in_every_request(
    scim: httpx.Client, sent: dict[str, Any], meant: dict[str, Any]
) -> None:
    made = new_user(scim, **sent)
    results = [made]
    post = {"method": "POST", "path": "/Users", "bulkId": "a", "data": user_body(**sent)}
    location = in_bulk(scim, post).json()["location"]
    results.append(get(scim, "/Users/" + location.rsplit("/", 1)[1]))
    separate = CORE_USER not in sent and None not in sent.values()
    for change in (*CHANGES, *([by_path] if separate else [])):
        user = new_user(scim)
        answered(change(scim, user, **sent), 200)
        results.append(get(scim, f"/Users/{user['id']}"))
    for shown in results:
        assert {key: shown.get(key) for key in meant} == meant, shown
        assert shown.keys() <= {"schemas", "id", "meta", "userName", "active"} | meant.keys()


@pytest.mark.parametrize("key", [f"{CORE_GROUP}:members", "MEMBERS", f"{DRAFT_USER}:Group:members"])
def test_members_of_a_group_are_read_under_every_spelling(scim: httpx.Client, key: str) -> None:
    one, two = new_user(scim)["id"], new_user(scim)["id"]
    body = {
        "schemas": [CORE_GROUP],
        f"{CORE_GROUP}:displayName": unique("g"),
        key: [{"value": one}],
    }
    group = answered(scim.post("/Groups", json=body), 201)["id"]
    assert members_of(scim, group) == {one}
    body[key] = [two]
    answered(scim.put(f"/Groups/{group}", json=body), 200)
    assert members_of(scim, group) == {two}
    operation = {"op": "add", "value": {key: one}}
    assert patch(scim, f"/Groups/{group}", operation).status_code == 204
    assert members_of(scim, group) == {one, two}


@change
@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        ({"active": True, f"{CORE_USER}:active": False}, "active"),
        ({"active": False, CORE_USER: {"active": "True"}}, "active"),
        ({"name": {"givenName": "A"}, "name.givenName": "B"}, "givenName"),
        ({ENTERPRISE: {"department": "A"}, f"{ENTERPRISE}:department": "B"}, "department"),
        ({f"{ENTERPRISE}:department": "A", f"{DRAFT_ENTERPRISE}:department": "B"}, "department"),
        ({"name": {f"{CORE_USER}:active": False}}, "active"),
        ({'emails[type eq "work"': "x"}, "emails"),
        ({"emails[]": "x"}, "emails"),
        ({CORE_USER: "x"}, "User"),
        ({ENTERPRISE: "x"}, "enterprise"),
        ({ENTERPRISE: [{"department": "x"}]}, "enterprise"),
    ],
)
def test_what_contradicts_itself_or_cannot_be_read_is_refused_and_nothing_changes(
    scim: httpx.Client, change: Send, attributes: dict[str, Any], word: str
) -> None:
    user = new_user(scim, active=False)
    response = change(scim, user, title="T", **attributes)
    detail = refused(response, 400, response.json()["scimType"])
    assert word in detail
    assert "title" not in get(scim, f"/Users/{user['id']}")


def test_a_creation_cannot_select_otherwise_than_by_what_an_entry_is(scim: httpx.Client) -> None:
    for key in (
        'emails[type ne "work"].value',
        "emails[value pr].type",
        'emails[shoe eq "1"].value',
    ):
        assert "emails" in refused(
            scim.post("/Users", json=user_body(**{key: "x"})), 400, "invalidValue"
        )
    twice = {"emails": [{"value": "a"}, {"value": "b"}], "emails.type": "work"}
    assert "emails" in refused(scim.post("/Users", json=user_body(**twice)), 400, "invalidValue")


@change
def test_attributes_that_no_schema_here_knows_are_ignored(scim: httpx.Client, change: Send) -> None:
    user = new_user(scim)
    unknown = {
        "department": "without its URN",
        "name.shoeSize": 45,
        'shoes[type eq "left"].size': 45,
        "urn:example:other:2.0:User:title": "x",
        f"{CORE_GROUP}:members": ["x"],
        "urn:ietf:params:scim:schemas:extension:other:2.0:User": {"active": False},
    }
    answered(change(scim, user, title="T", **unknown), 200)
    shown = get(scim, f"/Users/{user['id']}")
    assert shown.keys() == {"schemas", "id", "meta", "userName", "active", "title"}


# -- Lists ------------------------------------------------------------------


@pytest.mark.parametrize("op", ["add", "replace"])
@pytest.mark.parametrize(
    ("path", "value", "entries"),
    [
        ("emails.value", "a@b", [{"value": "a@b"}]),
        ("emails.type", "work", [{"type": "work"}]),
        ("emails.primary", "True", [{"primary": True}]),
        (f"{CORE_USER}:emails.value", [{"value": "a@b"}], [{"value": "a@b"}]),
        ('emails[type eq "work"].value', "a@b", [{"value": "a@b", "type": "work"}]),
        ('emails[type eq "work"]', {"value": "a@b"}, [{"value": "a@b", "type": "work"}]),
        ('emails[type eq "work"]', [{"value": "a@b"}], [{"value": "a@b", "type": "work"}]),
        ("emails", {"value": "a@b"}, [{"value": "a@b"}]),
        ("emails", "a@b", [{"value": "a@b"}]),
    ],
)
def test_a_path_into_an_empty_list_makes_an_entry(
    scim: httpx.Client, op: str, path: str, value: Any, entries: list[Any]
) -> None:
    user = new_user(scim)
    operation = {"op": op, "path": path, "value": value}
    assert answered(patch(scim, f"/Users/{user['id']}", operation), 200)["emails"] == entries
    assert get(scim, f"/Users/{user['id']}")["emails"] == entries


@pytest.mark.parametrize("op", ["add", "replace"])
@pytest.mark.parametrize(
    "path",
    ['emails[type ne "work"].value', "emails[value pr].type", 'emails[not (type eq "x")].type'],
)
def test_a_path_that_selects_nothing_and_describes_nothing_has_no_target(
    scim: httpx.Client, op: str, path: str
) -> None:
    user = new_user(scim)
    operation = {"op": op, "path": path, "value": "x"}
    refused(patch(scim, f"/Users/{user['id']}", operation), 400, "noTarget")


def test_a_path_into_a_list_writes_every_entry_that_is_there(scim: httpx.Client) -> None:
    user = new_user(scim, emails=[{"value": "a"}, {"value": "b"}])
    operation = {"op": "replace", "path": "emails.type", "value": "work"}
    answer = answered(patch(scim, f"/Users/{user['id']}", operation), 200)
    assert [each["type"] for each in answer["emails"]] == ["work", "work"]


def test_a_member_is_no_member_without_its_id(scim: httpx.Client) -> None:
    one, group = new_user(scim)["id"], new_group(scim)["id"]
    operation = {"op": "add", "path": "members.type", "value": "User"}
    refused(patch(scim, f"/Groups/{group}", operation), 400, "invalidValue")
    operation = {"op": "add", "path": "members.value", "value": one}
    assert patch(scim, f"/Groups/{group}", operation).status_code == 204
    assert members_of(scim, group) == {one}


LISTED = [
    ("title", "T"),
    ("active", False),
    ("profileUrl", "https://example.com/a"),
    ("name.givenName", "G"),
    ("externalId", "list-form"),
    (f"{ENTERPRISE}:department", "D"),
    (f"{ENTERPRISE}:manager", "m"),
    ('emails[type eq "work"].value', "a@b"),
    ("roles", "r"),
]


@pytest.mark.parametrize(("path", "value"), LISTED)
def test_the_list_form_of_entra_means_its_value(scim: httpx.Client, path: str, value: Any) -> None:
    if path == "externalId":
        value = unique(value)
    plain, listed = new_user(scim), new_user(scim)
    if path != "externalId":
        answered(by_path(scim, plain, **{path: value}), 200)
    form = [{"$ref": None, "value": str(value) if isinstance(value, bool) else value}]
    answered(by_path(scim, listed, **{path: form}), 200)
    shown = get(scim, f"/Users/{listed['id']}")
    if path == "externalId":
        assert shown["externalId"] == value
        return
    own = {"id", "meta", "userName"}
    expected = get(scim, f"/Users/{plain['id']}")
    assert {k: v for k, v in shown.items() if k not in own} == {
        k: v for k, v in expected.items() if k not in own
    }
