"""A decoration never keeps a leaver in: what stands beside ``active: false`` is read by its plain
meaning, whatever attribute of whatever schema it is of."""

from __future__ import annotations

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
    new_user,
    patch,
    patched_user,
    unique,
    user_body,
)

BLANKS: list[Any] = [None, "", " ", [], [None], [{"value": None}], [{"$ref": None, "value": ""}]]
"""What means that there is no value."""

STRINGS = [*BLANKS, ["x"], {"value": "x"}, [{"value": "x"}], "x" * 5000, "line\nline", "\u200bx"]
LINKS = [*BLANKS, "a.png", "/a/b.png", "../a?b=c#d", "//host/a", "http://", "mailto:a@b", "urn:a:b"]
ENTRIES = [
    *BLANKS,
    *("x", ["x", ""], {"value": "x"}, [{}], [{"value": ""}], [{"type": "office"}]),
    [{"value": "a", "primary": True}, {"value": "b", "primary": "True"}, {"value": "c"}],
    [{"value": "a", "primary": ""}, {"value": "a", "display": None, "type": "Business"}],
    [{"Value": "a", "TYPE": "WORK", "unknown": {"a": 1}}],
    [{"value": "a"}, {"value": "a"}, None, ""],
    [{"value": '{"id":"1","value":"User","displayName":"User"}'}],
]
ANYTHING = ["x", 12, [1], {"a": 1}, True, *BLANKS]
"""For what only the server writes, and what no schema knows."""

MULTIVALUED = ("emails", "phoneNumbers", "ims", "photos", "entitlements", "roles")
TEXTS = ("displayName", "nickName", "title", "userType", "preferredLanguage", "locale", "timezone")

DECORATIONS: dict[str, list[Any]] = {
    **dict.fromkeys(TEXTS, STRINGS),
    **dict.fromkeys(MULTIVALUED, ENTRIES),
    "name": [
        *BLANKS,
        {},
        {"givenName": ""},
        {"givenName": ["x"]},
        {"shoe": 1},
        [{"givenName": "G"}],
    ],
    "addresses": [
        *BLANKS,
        {},
        {"locality": ""},
        [{"locality": "L", "type": "office"}],
        [{"primary": ""}],
    ],
    "profileUrl": LINKS,
    "photos": [*ENTRIES, *([{"value": each}] for each in LINKS), "a.png", ["a.png"]],
    "x509Certificates": [*BLANKS, [{"value": ""}], [{"value": " ", "primary": True}]],
    "externalId": [*BLANKS, [{"value": "ext"}], ["ext"]],
    "password": ["", "x", None],
    "groups": ANYTHING,
    "id": ANYTHING,
    "meta": ANYTHING,
    "shoeSize": ANYTHING,
    "schemas": [
        *(None, "", [], "urn:scim:schemas:core:2.0", ["urn:scim:schemas:core:2.0"], CORE_USER),
        *([CORE_USER, "urn:example:unknown"], ["urn:example:unknown"], [CORE_USER.upper()]),
        *(["http://schemas.example.com/2006/User"], ["urn:scim:schemas:core:2.0:User"]),
        ["urn:scim:schemas:core:2.0", "urn:scim:schemas:extension:enterprise:2.0"],
        ["urn:scim:schemas:core:1.0", CORE_USER],
    ],
    ENTERPRISE: [
        *(None, "", [], {}, {"department": ""}, {"Department": [{"value": "D"}]}, {"shoe": 1}),
        *(
            {"manager": each}
            for each in [*BLANKS, {}, {"value": ""}, "m", {"value": "m", "$ref": ""}]
        ),
        {"manager": [{"value": "m", "displayName": "M"}]},
        {"employeeNumber": ["7"], "costCenter": {"value": "c"}, "organization": None},
    ],
    KONG: ANYTHING,
    "urn:example:other:2.0:User": ANYTHING,
}

CASES = [(name, value) for name, values in DECORATIONS.items() for value in values]


def leavers(scim: httpx.Client, count: int) -> list[dict[str, Any]]:
    """Create people by one request, and return them."""
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": str(each), "data": user_body()}
        for each in range(count)
    ]
    results = bulk(scim, operations)
    return [
        {"id": each["location"].rsplit("/", 1)[1], "name": op["data"]["userName"]}
        for each, op in zip(results, operations, strict=True)
    ]


def bulk(scim: httpx.Client, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for start in range(0, len(operations), 100):
        body = {"schemas": [BULK], "Operations": operations[start : start + 100]}
        results += answered(scim.post("/Bulk", json=body), 200)["Operations"]
    failed = [
        (op, each) for op, each in zip(operations, results, strict=True) if "response" in each
    ]
    assert failed == []
    return results


def all_are_out(scim: httpx.Client, people: list[dict[str, Any]]) -> None:
    wanted = {each["id"] for each in people}
    found: set[str] = set()
    query = {"filter": "active eq false", "attributes": f"active,{KONG}:suspended", "cursor": ""}
    while True:
        page = answered(scim.get("/Users", params={**query, "count": "100"}), 200)
        found |= {each["id"] for each in page["Resources"] if each[KONG]["suspended"] is True}
        if not page.get("nextCursor"):
            break
        query["cursor"] = page["nextCursor"]
    assert wanted - found == set()


def test_in_a_put(scim: httpx.Client) -> None:
    people = leavers(scim, len(CASES))
    bulk(
        scim,
        [
            {
                "method": "PUT",
                "path": f"/Users/{each['id']}",
                "data": user_body(each["name"], active=False) | {name: value},
            }
            for each, (name, value) in zip(people, _own_names(CASES), strict=True)
        ],
    )
    all_are_out(scim, people)


def test_in_a_patch(scim: httpx.Client) -> None:
    people = leavers(scim, len(CASES))
    bulk(
        scim,
        [
            {
                "method": "PATCH",
                "path": f"/Users/{each['id']}",
                "data": {
                    "Operations": [{"op": "Replace", "value": {"active": "False", name: value}}]
                },
            }
            for each, (name, value) in zip(people, _own_names(CASES), strict=True)
        ],
    )
    all_are_out(scim, people)


def test_in_a_patch_with_paths(scim: httpx.Client) -> None:
    unknown = {"shoeSize", "urn:example:other:2.0:User", "groups", "id", "meta", KONG, "schemas"}
    cases = [(name, value) for name, value in _own_names(CASES) if name not in unknown]
    people = leavers(scim, len(cases))
    bulk(
        scim,
        [
            {
                "method": "PATCH",
                "path": f"/Users/{each['id']}",
                "data": {
                    "schemas": ["urn:scim:schemas:core:2.0"],
                    "Operations": [
                        {"op": "add", "path": name, "value": value},
                        {"op": "replace", "path": "active", "value": False},
                    ],
                },
            }
            for each, (name, value) in zip(people, cases, strict=True)
            if not (name == ENTERPRISE and not isinstance(value, dict))
        ],
    )
    all_are_out(
        scim,
        [
            each
            for each, (name, value) in zip(people, cases, strict=True)
            if not (name == ENTERPRISE and not isinstance(value, dict))
        ],
    )


def test_in_a_creation(scim: httpx.Client) -> None:
    results = bulk(
        scim,
        [
            {
                "method": "POST",
                "path": "/Users",
                "bulkId": str(number),
                "data": user_body(active=False) | {name: value},
            }
            for number, (name, value) in enumerate(_own_names(CASES))
        ],
    )
    all_are_out(scim, [{"id": each["location"].rsplit("/", 1)[1]} for each in results])


def _own_names(cases: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Give each externalId a value of its own: they are unique."""
    text = {"externalId": lambda: unique("ext")}
    return [
        (name, _filled(value, text[name]()) if name in text else value) for name, value in cases
    ]


def _filled(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, text) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, text) for each in value]
    return text if value == "ext" else value


# -- What is kept of it -----------------------------------------------------


def test_the_first_of_several_primary_entries_is_primary(scim: httpx.Client) -> None:
    emails = [{"value": each, "primary": True} for each in ("a", "b", "c")]
    kept = [("a", True), ("b", False), ("c", False)]
    user = new_user(scim, emails=emails)
    assert [(each["value"], each["primary"]) for each in user["emails"]] == kept
    other = new_user(scim)
    changed = patched_user(scim, other["id"], {"op": "add", "path": "emails", "value": emails})
    assert [(each["value"], each["primary"]) for each in changed["emails"]] == kept


@pytest.mark.parametrize("kind", ["office", "Business", "WORK"])
@pytest.mark.parametrize("name", ["emails", "phoneNumbers", "photos", "ims", "addresses"])
def test_a_type_that_is_not_canonical_is_kept_through_every_change(
    scim: httpx.Client, name: str, kind: str
) -> None:
    part = "formatted" if name == "addresses" else "value"
    user = new_user(scim, **{name: [{"type": kind, part: "a"}]})
    path = f'{name}[type eq "{kind}"].{part}'
    changed = patched_user(scim, user["id"], {"op": "replace", "path": path, "value": "b"})
    shown = kind.lower() if kind == "WORK" and name not in {"photos", "ims"} else kind
    assert changed[name] == [{"type": shown, part: "b"}]
    body = user_body(user["userName"], **{name: changed[name]}, title="T")
    assert answered(scim.put(f"/Users/{user['id']}", json=body), 200)[name] == changed[name]
    results = bulk(
        scim, [{"method": "PUT", "path": f"/Users/{user['id']}", "data": {**body, "title": "U"}}]
    )
    assert [each["status"] for each in results] == ["200"]
    assert get(scim, f"/Users/{user['id']}")[name] == changed[name]


def test_references_are_kept_as_they_were_sent(scim: httpx.Client) -> None:
    photos = [{"value": "photos/a.png"}, {"value": "/b.png"}, {"value": "https://example.com/c"}]
    user = new_user(scim, profileUrl="../people/a", photos=photos)
    assert (user["profileUrl"], user["photos"]) == ("../people/a", photos)


def test_what_is_another_resource_by_its_schema_is_refused(scim: httpx.Client) -> None:
    body = user_body() | {"schemas": [CORE_GROUP]}
    assert scim.post("/Users", json=body).status_code == 400
    body = {"schemas": ["urn:scim:schemas:core:2.0:User"], "displayName": unique("g")}
    assert scim.post("/Groups", json=body).status_code == 400


def test_a_patch_may_list_any_schema(scim: httpx.Client) -> None:
    user = new_user(scim)
    for schemas in ([], [CORE_USER], ["urn:scim:api:messages:2.0:PatchOp"], "x:y", None):
        body = {"schemas": schemas, "Operations": [{"op": "add", "path": "title", "value": "T"}]}
        status = scim.patch(f"/Users/{user['id']}", json=body).status_code
        assert status == (400 if schemas == "x:y" else 200)
    assert patch(scim, f"/Users/{user['id']}", {"op": "remove", "path": "title"}).status_code == 200
