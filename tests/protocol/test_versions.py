"""Versions of resources and conditional requests (RFC 7644 §3.14)."""

from __future__ import annotations

import httpx
import pytest

from scim_traffic import answered, get, members_of, new_group, new_user, patch, refused

pytestmark = pytest.mark.every_host

TITLE = {"op": "add", "path": "title", "value": "T"}


def test_a_resource_has_the_same_version_in_the_header_and_in_meta(scim: httpx.Client) -> None:
    user = new_user(scim)
    response = scim.get(f"/Users/{user['id']}")
    assert response.headers["ETag"] == user["meta"]["version"]
    assert user["meta"]["version"].startswith('W/"')


def test_a_change_makes_another_version_and_no_change_makes_none(scim: httpx.Client) -> None:
    user = new_user(scim)
    path = f"/Users/{user['id']}"
    changed = answered(patch(scim, path, TITLE), 200)["meta"]
    again = answered(patch(scim, path, TITLE), 200)["meta"]
    assert changed["version"] != user["meta"]["version"]
    assert again == changed
    assert answered(scim.put(path, json=get(scim, path)), 200)["meta"] == changed


@pytest.mark.parametrize("tag", ["version", '"x", version', "*"])
def test_if_none_match_answers_304_to_who_has_it_already(scim: httpx.Client, tag: str) -> None:
    user = new_user(scim)
    header = {"If-None-Match": tag.replace("version", user["meta"]["version"])}
    response = scim.get(f"/Users/{user['id']}", headers=header)
    assert response.status_code == 304
    assert response.content == b""
    assert response.headers["ETag"] == user["meta"]["version"]
    other = {"If-None-Match": 'W/"other"'}
    assert scim.get(f"/Users/{user['id']}", headers=other).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_if_match_refuses_to_change_another_version(scim: httpx.Client, method: str) -> None:
    user = new_user(scim)
    path = f"/Users/{user['id']}"
    current = answered(patch(scim, path, TITLE), 200)
    bodies = {"PUT": user, "PATCH": {"Operations": [{**TITLE, "value": "U"}]}, "DELETE": None}

    stale = {"If-Match": user["meta"]["version"]}
    refused(scim.request(method, path, json=bodies[method], headers=stale), 412)
    assert get(scim, path) == current

    fresh = {"If-Match": current["meta"]["version"]}
    response = scim.request(method, path, json=bodies[method], headers=fresh)
    assert response.status_code == (204 if method == "DELETE" else 200)


def test_if_match_holds_for_members_too(scim: httpx.Client) -> None:
    one, two = new_user(scim)["id"], new_user(scim)["id"]
    group = new_group(scim)
    path = f"/Groups/{group['id']}"

    def add(user_id: str, version: str) -> httpx.Response:
        operation = {"op": "add", "path": "members", "value": [{"value": user_id}]}
        return patch(scim, path, operation, headers={"If-Match": version})

    assert add(one, group["meta"]["version"]).status_code == 204
    refused(add(two, group["meta"]["version"]), 412)
    assert members_of(scim, group["id"]) == {one}
    assert add(two, "*").status_code == 204
    assert members_of(scim, group["id"]) == {one, two}


def test_what_is_deleted_is_gone(scim: httpx.Client) -> None:
    user = new_user(scim)
    path = f"/Users/{user['id']}"
    response = scim.delete(path)
    assert response.status_code == 204
    assert response.content == b""
    refused(scim.get(path), 404)
    refused(scim.delete(path), 404)
    refused(patch(scim, path, TITLE), 404)
    refused(scim.put(path, json=user), 404)
