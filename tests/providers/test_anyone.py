"""What every provider relies on, and what the smaller ones send."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from scim_traffic import (
    CORE_USER,
    PATCH,
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

# docs/providers/traffic.md#user-names-in-any-case


def test_a_user_name_is_unique_whatever_its_case_and_returned_as_sent(scim: httpx.Client) -> None:
    name = unique("Anna.Müller@Example.COM")
    user = new_user(scim, name)
    assert user["userName"] == name
    refused(scim.post("/Users", json=user_body(name.lower())), 409, "uniqueness")
    found = get(scim, "/Users", filter=f'userName eq "{name.upper()}"')
    assert [each["userName"] for each in found["Resources"]] == [name]


def test_a_user_may_change_the_case_of_its_own_name(scim: httpx.Client) -> None:
    user = new_user(scim, unique("lower"))
    operation = {"op": "replace", "path": "userName", "value": user["userName"].upper()}
    assert patched_user(scim, user["id"], operation)["userName"] == user["userName"].upper()


# docs/providers/traffic.md#content-types


@pytest.mark.parametrize(
    "content_type",
    [
        "application/scim+json",
        "application/json",
        "application/scim+json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        None,
    ],
)
def test_json_is_accepted_under_each_of_its_names(
    scim: httpx.Client, content_type: str | None
) -> None:
    body = f'{{"schemas":["{CORE_USER}"],"userName":"{unique("ct")}"}}'
    request = scim.build_request("POST", "/Users", content=body)
    request.headers.pop("Content-Type", None)
    if content_type:
        request.headers["Content-Type"] = content_type
    answered(scim.send(request), 201)


def test_another_content_type_is_415(scim: httpx.Client) -> None:
    headers = {"Content-Type": "application/xml"}
    refused(scim.post("/Users", content="<user/>", headers=headers), 415)


# docs/providers/traffic.md#refusals-are-scim-errors


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (None, 'Bearer realm="SCIM"'),
        ("Bearer wrong", 'Bearer realm="SCIM", error="invalid_token"'),
        ("Bearer", 'Bearer realm="SCIM", error="invalid_token"'),
        ("Basic dXNlcjpwYXNz", 'Bearer realm="SCIM", error="invalid_token"'),
        ("nonsense", 'Bearer realm="SCIM", error="invalid_token"'),
    ],
)
def test_a_missing_malformed_or_wrong_token_is_401_alike(
    scim: httpx.Client, header: str | None, challenge: str
) -> None:
    request = scim.build_request("GET", "/Users")
    del request.headers["Authorization"]
    if header:
        request.headers["Authorization"] = header
    response = scim.send(request)
    detail = refused(response, 401)
    assert response.headers["WWW-Authenticate"] == challenge
    assert detail == "Send one of the bearer tokens of this endpoint: Authorization: Bearer <token>"


def test_without_a_token_nothing_can_be_told_from_the_answer(scim: httpx.Client) -> None:
    user = new_user(scim)
    paths = [f"/Users/{user['id']}", "/Users/absent", "/Nothing", "/ServiceProviderConfig", "/"]
    answers = {scim.get(path, headers={"Authorization": "Bearer x"}).text for path in paths}
    assert len(answers) == 1


# docs/providers/traffic.md#locations-are-used-as-they-are


def test_locations_are_absolute_and_not_those_of_a_strangers_host_header(
    scim: httpx.Client,
) -> None:
    user = new_user(scim)
    group = new_group(scim, user["id"])
    base = user["meta"]["location"].removesuffix(f"/Users/{user['id']}")
    assert base.startswith(("http://", "https://"))
    assert group["meta"]["location"] == f"{base}/Groups/{group['id']}"
    assert group["members"][0]["$ref"] == f"{base}/Users/{user['id']}"
    again = get(scim, f"/Users/{user['id']}")
    assert again["groups"][0]["$ref"] == f"{base}/Groups/{group['id']}"
    strange = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    assert "evil.example" not in scim.get(f"/Users/{user['id']}", headers=strange).text


# docs/providers/traffic.md#bursts-on-one-group


def test_32_patches_at_once_on_one_group_lose_no_member(scim: httpx.Client) -> None:
    users = [new_user(scim)["id"] for _ in range(32)]
    group = new_group(scim)

    def add(user_id: str) -> int:
        operation = {"op": "add", "path": "members", "value": [{"value": user_id}]}
        return patch(scim, f"/Groups/{group['id']}", operation).status_code

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(add, users)) == {204}
    assert members_of(scim, group["id"]) == set(users)


# docs/providers/traffic.md#one-member-of-thousands


@pytest.mark.parametrize(
    "operation",
    [
        lambda new, old: {"op": "add", "path": "members", "value": [{"value": new}]},
        lambda new, old: {"op": "add", "path": "members", "value": {"value": new}},
        lambda new, old: {"op": "add", "path": "members", "value": [new]},
        lambda new, old: {"op": "add", "value": {"members": [{"value": new}]}},
        lambda new, old: {"op": "add", "path": "members", "value": [{"value": new, "type": "x"}]},
    ],
)
def test_a_member_is_added_in_every_shape_and_the_others_are_not_sent_back(
    scim: httpx.Client, operation: Any
) -> None:
    old, new = new_user(scim)["id"], new_user(scim)["id"]
    group = new_group(scim, old)
    response = patch(scim, f"/Groups/{group['id']}", operation(new, old))
    assert response.status_code == 204
    assert members_of(scim, group["id"]) == {old, new}


@pytest.mark.parametrize(
    "operation",
    [
        lambda a, b: {"op": "remove", "path": f'members[value eq "{a}"]'},
        lambda a, b: {"op": "remove", "path": f'members[value eq "{a}" or value eq "absent"]'},
        lambda a, b: {"op": "remove", "path": "members", "value": {"value": a}},
        lambda a, b: {"op": "remove", "path": "members", "value": [a]},
        lambda a, b: {"op": "replace", "path": "members", "value": [{"value": b}]},
        lambda a, b: {"op": "replace", "value": {"members": [{"value": b}]}},
        lambda a, b: {"op": "remove", "path": f'members[not (value eq "{b}")]'},
    ],
)
def test_a_member_is_removed_in_every_shape(scim: httpx.Client, operation: Any) -> None:
    gone, left = new_user(scim)["id"], new_user(scim)["id"]
    group = new_group(scim, gone, left)
    assert patch(scim, f"/Groups/{group['id']}", operation(gone, left)).status_code == 204
    assert members_of(scim, group["id"]) == {left}


def test_a_patch_may_rename_a_group_and_change_its_members(scim: httpx.Client) -> None:
    old, new = new_user(scim)["id"], new_user(scim)["id"]
    group, name = new_group(scim, old), unique("renamed")
    response = patch(
        scim,
        f"/Groups/{group['id']}",
        {"op": "replace", "path": "displayName", "value": name},
        {"op": "add", "path": "members", "value": [{"value": new}]},
        {"op": "remove", "path": f'members[value eq "{old}"]'},
    )
    assert response.status_code == 204
    assert get(scim, f"/Groups/{group['id']}")["displayName"] == name
    assert members_of(scim, group["id"]) == {new}


def test_a_member_who_is_nobody_is_refused_and_nothing_is_changed(scim: httpx.Client) -> None:
    one = new_user(scim)["id"]
    group = new_group(scim)
    members = [{"value": one}, {"value": unique("absent")}]
    operation = {"op": "add", "path": "members", "value": members}
    refused(patch(scim, f"/Groups/{group['id']}", operation), 400, "invalidValue")
    assert members_of(scim, group["id"]) == set()


# docs/providers/traffic.md#clients-believe-the-configuration


def test_the_service_provider_config_says_the_truth(scim: httpx.Client) -> None:
    config = get(scim, "/ServiceProviderConfig")
    for capability in ("patch", "bulk", "filter", "sort", "etag"):
        assert config[capability]["supported"] is True
    assert config["changePassword"]["supported"] is False
    assert config["pagination"]["cursor"] is True
    assert config["pagination"]["index"] is True
    assert [each["type"] for each in config["authenticationSchemes"]] == ["oauthbearertoken"]

    limit = config["bulk"]["maxOperations"]
    operation = {"method": "DELETE", "path": "/Users/absent"}
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [operation] * (limit + 1),
    }
    assert str(limit) in refused(scim.post("/Bulk", json=body), 413)
    page = get(scim, "/Users", count="1000000")
    assert page["itemsPerPage"] <= config["filter"]["maxResults"]


# docs/providers/traffic.md#attributes-nobody-knows


def test_unknown_schemas_and_attributes_are_ignored_in_post_and_put(scim: httpx.Client) -> None:
    body = user_body(costCenter="x", urn_x={"a": [1]}, **{"urn:example:other:1.0:User": {"b": 2}})
    body["schemas"] += ["urn:example:other:1.0:User"]
    user = answered(scim.post("/Users", json=body), 201)
    assert user["schemas"] == [each for each in user["schemas"] if "example:other" not in each]
    assert "costCenter" not in user
    answered(scim.put(f"/Users/{user['id']}", json=body), 200)


@pytest.mark.parametrize(
    "path",
    ["shoeSize", "name.shoeSize", "urn:example:other:1.0:User:a", 'shoes[type eq "work"].value'],
)
def test_a_patch_of_an_unknown_path_is_invalid_path(scim: httpx.Client, path: str) -> None:
    user = new_user(scim)
    operation = {"op": "replace", "path": path, "value": "x"}
    detail = refused(patch(scim, f"/Users/{user['id']}", operation), 400, "invalidPath")
    assert path in detail


def test_unknown_attributes_in_the_value_of_a_patch_are_ignored(scim: httpx.Client) -> None:
    user = new_user(scim)
    value = {"shoeSize": 45, "title": "T"}
    assert patched_user(scim, user["id"], {"op": "replace", "value": value})["title"] == "T"
    answered(patch(scim, f"/Users/{user['id']}", {"op": "replace", "value": {"shoeSize": 45}}), 200)


# docs/providers/traffic.md#scim-11


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("POST", "/Users", CORE_USER),
        ("PUT", "/Users/{id}", CORE_USER),
        ("PATCH", "/Users/{id}", PATCH),
    ],
)
def test_scim_1_gets_a_400_that_names_the_version_wanted(
    scim: httpx.Client, method: str, path: str, wanted: str
) -> None:
    body = {"schemas": ["urn:scim:schemas:core:1.0"], "userName": unique("old"), "active": False}
    user = new_user(scim)
    response = scim.request(method, path.format(id=user["id"]), json=body)
    detail = refused(response, 400, "invalidVers")
    assert "2.0" in detail
    assert wanted in detail
    assert get(scim, f"/Users/{user['id']}")["active"] is True
