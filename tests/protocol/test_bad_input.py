"""Bad input gets a SCIM error that helps, and nothing is written (issue, "Bad input")."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from scim_traffic import (
    CORE_USER,
    PATCH,
    answered,
    get,
    new_group,
    new_user,
    patch,
    refused,
    unique,
    user_body,
)

SECRET = "correct-horse-battery-staple"


pytestmark = pytest.mark.usefixtures("nothing_is_written")


def post(scim: httpx.Client, content: bytes | str, path: str = "/Users") -> httpx.Response:
    headers = {"Content-Type": "application/scim+json"}
    return scim.post(path, content=content, headers=headers)


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    "content",
    [
        "",
        "   ",
        "{",
        '{"userName": "a"',
        '{"userName": "a",}',
        "{'userName': 'a'}",
        "userName=a",
        "[]",
        '"text"',
        "1",
        "null",
        '{"userName": NaN}',
        '{"userName": Infinity}',
        '{"userName": -Infinity}',
        '{"userName": "a\nb"}',
        b'{"userName": "\xff\xfe"}',
        b'{"userName": "\xc0\xaf"}',
        b"\x00\x00\x00{",
        '{"userName": "a"}'.encode("utf-16"),
        '{"userName": "a", "userName": "b"}',
        '{"userName": "a", "username": "b"}',
        nested(65),
        nested(100_000),
        "[" * 100_000 + "]" * 100_000,
        '{"userName": "a", "x": ' + nested(64) + "}",
        '{"user\\u0000Name": "a"}',
    ],
    ids=lambda content: repr(content[:24]),
)
@pytest.mark.parametrize("path", ["/Users", "/Groups", "/Bulk", "/.search", "/Users/.search"])
def test_what_is_no_json_object_is_invalid_syntax(
    scim: httpx.Client, content: bytes | str, path: str
) -> None:
    refused(post(scim, content, path), 400, "invalidSyntax")


def test_64_levels_are_still_read(scim: httpx.Client) -> None:
    body = f'{{"schemas":["{CORE_USER}"],"title":"made by a test","userName":"{unique("u")}","x":'
    answered(post(scim, body + nested(63) + "}"), 201)


@pytest.mark.parametrize(
    "text",
    [r"\u0000", r"\u0001", r"\u001f", r"\u007f", r"\ud800", r"\udfff", r"\udc00\ud800"],
)
@pytest.mark.parametrize("name", ["userName", "title", "externalId"])
def test_control_characters_and_lone_surrogates_are_invalid_value(
    scim: httpx.Client, name: str, text: str
) -> None:
    body = {"schemas": [CORE_USER], "userName": unique("u"), name: "@"}
    content = json.dumps(body).replace("@", f"a{text}b")
    refused(post(scim, content), 400, "invalidValue")


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a\r\nX-Injected: 1"])
@pytest.mark.parametrize("name", ["userName", "externalId"])
def test_names_of_consumers_hold_no_line_ends(scim: httpx.Client, name: str, text: str) -> None:
    body = {"schemas": [CORE_USER], "userName": unique("u"), name: text}
    refused(scim.post("/Users", json=body), 400, "invalidValue")


def test_text_of_several_lines_is_kept_where_it_makes_sense(scim: httpx.Client) -> None:
    address = [{"formatted": "Hauptstr. 1\n10115 Berlin", "type": "work"}]
    user = new_user(scim, title="made by a test", addresses=address)
    assert user["addresses"] == address


@pytest.mark.parametrize("operator", ["eq", "sw", "co"])
def test_long_text_is_kept_and_found(scim: httpx.Client, operator: str) -> None:
    text = unique("long") + "é" * 100_000
    user = new_user(scim, title="made by a test", nickName=text, emails=[{"value": text}])
    assert user["nickName"] == text
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": f'nickName {operator} "{text[:5000]}" or emails {operator} "{text[:17]}"',
    }
    found = answered(scim.post("/Users/.search", json=body), 200)
    assert [each["id"] for each in found["Resources"]] == ([] if operator == "eq" else [user["id"]])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("userName", 12),
        ("userName", None),
        ("userName", ""),
        ("userName", "   "),
        ("userName", ["a"]),
        ("userName", {"a": 1}),
        ("userName", "x" * 513),
        ("externalId", "x" * 513),
        ("active", 1),
        ("active", "maybe"),
        ("active", {"a": 1}),
        ("name", "Alice"),
        ("name", 12),
        ("name", ["a", "b"]),
        ("emails", 12),
        ("emails", [12]),
        ("emails", [["a@example.com"]]),
        ("emails", [{"value": {"a": 1}}]),
        ("profileUrl", "not a url"),
        ("x509Certificates", [{"value": "a"}]),
        ("schemas", 12),
        ("schemas", [12]),
        ("schemas", ["urn:ietf:params:scim:schemas:core:2.0:Group"]),
        ("schemas", ["unknown"]),
        ("title", 10**30),
        ("title", 1e300),
    ],
)
def test_values_of_the_wrong_type_are_400_and_name_the_attribute(
    scim: httpx.Client, name: str, value: Any
) -> None:
    body = {**user_body(), name: value}
    response = scim.post("/Users", json=body)
    assert response.status_code == 400, response.text
    detail = refused(response, 400, response.json()["scimType"])
    assert response.json()["scimType"] in {"invalidValue", "invalidSyntax"}
    if value != 10**30:
        assert name in detail


@pytest.mark.parametrize("name", ["displayName", "members"])
@pytest.mark.parametrize("value", [12, {"a": 1}, "x" * 600, [12], [{"display": "nobody"}]])
def test_groups_of_the_wrong_type_are_400(scim: httpx.Client, name: str, value: Any) -> None:
    body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": unique("g")}
    response = scim.post("/Groups", json={**body, name: value})
    assert response.status_code == 400
    refused(response, 400, response.json()["scimType"])


def test_a_group_has_a_name(scim: httpx.Client) -> None:
    schemas = ["urn:ietf:params:scim:schemas:core:2.0:Group"]
    for body in ({}, {"displayName": ""}, {"displayName": None}):
        refused(scim.post("/Groups", json={"schemas": schemas, **body}), 400, "invalidValue")


def test_a_body_over_the_limit_is_413_and_says_the_limit(scim: httpx.Client) -> None:
    limit = get(scim, "/ServiceProviderConfig")["bulk"]["maxPayloadSize"]
    assert str(limit) in refused(scim.post("/Users", json=user_body(title="x" * limit)), 413)


def test_10_000_operations_in_a_patch_are_413_and_say_the_limit(scim: httpx.Client) -> None:
    user = new_user(scim, title="made by a test")
    limit = get(scim, "/ServiceProviderConfig")["bulk"]["maxOperations"]
    operations = [{"op": "add", "path": "title", "value": "x"}] * 10_000
    assert str(limit) in refused(patch(scim, f"/Users/{user['id']}", *operations), 413)
    assert get(scim, f"/Users/{user['id']}") == user


@pytest.mark.parametrize(
    "path",
    [
        "/Users/a%2Fb",
        "/Users%2F",
        "/Users/%0d%0aX-Injected:%201",
        "/Users/absent",
        "/Users/" + "x" * 3000,
        "/Users/'%20OR%201=1--",
        "/Shoes",
        "/Users/a/b",
        "/Users/a/b/c/d",
        "/Schemas/urn:example:absent",
        "/ResourceTypes/Shoe",
    ],
    ids=lambda path: path[:24],
)
def test_what_is_not_there_is_404(scim: httpx.Client, path: str) -> None:
    refused(scim.get(path), 404)


def test_an_encoded_slash_is_no_other_route(scim: httpx.Client) -> None:
    user = new_user(scim, title="made by a test")
    assert scim.delete(f"/Users%2F{user['id']}").status_code in (404, 405)
    assert get(scim, f"/Users/{user['id']}") == user


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/Users", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("POST", "/Users/x", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"}),
        ("PUT", "/ServiceProviderConfig", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/Bulk", {"OPTIONS", "POST"}),
        ("PURGE", "/Users", {"GET", "HEAD", "OPTIONS", "POST"}),
    ],
)
def test_another_method_is_405_and_names_those_allowed(
    scim: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    response = scim.request(method, path)
    refused(response, 405)
    assert set(response.headers["Allow"].split(", ")) == allowed


def test_options_and_head_are_served(scim: httpx.Client) -> None:
    response = scim.options("/Users")
    assert response.status_code == 204
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    assert scim.head("/ServiceProviderConfig").status_code == 200
    assert scim.head("/Users/absent").status_code == 404


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        ({"op": "explode", "path": "title"}, "invalidValue"),
        ({"op": "add", "path": "title"}, "invalidValue"),
        ({"op": "replace", "path": "title"}, "invalidValue"),
        ({"op": "remove"}, "noTarget"),
        ({"path": "title", "value": "x"}, "invalidValue"),
        ({"op": 1, "path": "title", "value": "x"}, "invalidValue"),
        ({"op": "add", "path": 1, "value": "x"}, "invalidValue"),
        ({"op": "add", "value": "x"}, "invalidValue"),
        ({"op": "add", "value": ["x"]}, "invalidValue"),
        ({"op": "replace", "path": "title", "value": {"a": 1}}, "invalidValue"),
        ({"op": "replace", "path": "active", "value": "maybe"}, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": ""}, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": "a\r\nb"}, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": None}, "mutability"),
        ({"op": "remove", "path": "userName"}, "mutability"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "replace", "path": "meta.created", "value": "x"}, "mutability"),
        ({"op": "add", "path": "groups", "value": [{"value": "x"}]}, "mutability"),
        ({"op": "add", "path": "emails[", "value": "x"}, "invalidPath"),
        ({"op": "add", "path": "a b", "value": "x"}, "invalidPath"),
        ({"op": "add", "path": "x" * 10_000, "value": "x"}, "invalidPath"),
        ({"op": "add", "path": "emails" + "[" * 200, "value": "x"}, "invalidPath"),
        ({"op": "add", "path": 'emails[value eq "\\u0000"].type', "value": "x"}, "invalidPath"),
        ({"op": "add", "path": 'emails[shoe eq "1"].value', "value": "x"}, "invalidFilter"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_wrong_operation_is_refused_and_those_before_it_are_undone(
    scim: httpx.Client, operation: dict[str, Any], scim_type: str
) -> None:
    user = new_user(scim, title="made by a test")
    first = {"op": "add", "path": "nickName", "value": "changed"}
    response = patch(scim, f"/Users/{user['id']}", first, operation)
    refused(response, 400, scim_type)
    assert get(scim, f"/Users/{user['id']}") == user


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"Operations": []},
        {"Operations": {}},
        {"Operations": "x"},
        {"Operations": [1]},
        {"Operations": [None]},
        {"Operations": [[]]},
        {"schemas": ["urn:example:other"], "Operations": []},
    ],
)
def test_a_patch_without_operations_is_400(scim: httpx.Client, body: dict[str, Any]) -> None:
    user = new_user(scim, title="made by a test")
    response = scim.patch(f"/Users/{user['id']}", json={"schemas": [PATCH], **body})
    refused(response, 400, response.json()["scimType"])


@pytest.mark.parametrize("value", [12, {"a": 1}, [12], [{"display": "x"}], [{"value": 12}]])
@pytest.mark.parametrize("op", ["add", "remove", "replace"])
def test_members_of_the_wrong_type_are_400(scim: httpx.Client, op: str, value: Any) -> None:
    group = new_group(scim)
    operation = {"op": op, "path": "members", "value": value}
    refused(patch(scim, f"/Groups/{group['id']}", operation), 400, "invalidValue")


def test_errors_repeat_little_of_the_input_and_nothing_secret(scim: httpx.Client) -> None:
    user = new_user(scim, title="made by a test")
    long = "z" * 5000
    responses = [
        scim.post("/Users", json={**user_body(password=SECRET), "active": SECRET}),
        scim.post("/Users", json={**user_body(password={"secret": SECRET})}),
        scim.post("/Users", json={**user_body(), "password": [SECRET, SECRET]}),
        scim.get("/Users", params={"filter": f'password eq "{SECRET}" and'}),
        scim.get("/Users", headers={"Authorization": f"Bearer {SECRET}"}),
        scim.get(f"/Users/{long}"),
        scim.get(f"/{long}"),
        scim.get("/Users", params={"filter": f'{long} eq "x"'}),
        scim.get("/Users", params={"sortBy": long}),
        patch(scim, f"/Users/{user['id']}", {"op": long, "path": "title", "value": "x"}),
        patch(scim, f"/Users/{user['id']}", {"op": "add", "path": long, "value": "x"}),
        patch(scim, f"/Users/{user['id']}", {"op": "add", "path": f"name.{long}", "value": "x"}),
        post(scim, f'{{"{long}": 1, "{long}": 2}}'),
        scim.post("/Users", json={**user_body(), "schemas": [long]}),
    ]
    for response in responses:
        assert response.status_code in (400, 401, 404), response.text
        assert "zz" * 100 not in response.text
        assert len(response.json()["detail"]) <= 400
    for response in responses[1:5]:
        assert SECRET not in response.text
