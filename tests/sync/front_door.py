"""What the tests at the front door do to users and groups, and how they look at Kong."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hosts import Gateway
from scim_traffic import CORE_GROUP, KONG, get, new_group
from scim_traffic import patch as patched


def make_group(scim: httpx.Client, name: str, *members: dict[str, Any]) -> dict[str, Any]:
    return new_group(scim, *(member["id"] for member in members), name=name)


def replace(scim: httpx.Client, path: str, **values: Any) -> None:
    answer = patched(scim, path, {"op": "replace", "value": values})
    assert answer.status_code in {200, 204}, answer.text


def leave(scim: httpx.Client, group: dict[str, Any], user: dict[str, Any]) -> None:
    operation = {"op": "remove", "path": f'members[value eq "{user["id"]}"]'}
    assert patched(scim, f"/Groups/{group['id']}", operation).status_code == 204


def join(scim: httpx.Client, group: dict[str, Any], user: dict[str, Any]) -> None:
    operation = {"op": "add", "path": "members", "value": [{"value": user["id"]}]}
    assert patched(scim, f"/Groups/{group['id']}", operation).status_code == 204


def shown(scim: httpx.Client, user: dict[str, Any]) -> dict[str, Any]:
    return dict(get(scim, f"/Users/{user['id']}", attributes=KONG)[KONG])


def consumer(gateway: Gateway, name: str) -> dict[str, Any]:
    found = gateway.consumer(name)
    assert found is not None, f"there is no consumer {name}"
    return found


def only_with_a_database(gateway: Gateway) -> None:
    if gateway.host.dbless:
        pytest.skip("on a DB-less Kong nobody else can change an entity")


def group_body(name: str, *members: str) -> dict[str, Any]:
    return {
        "schemas": [CORE_GROUP],
        "displayName": name,
        "members": [{"value": each} for each in members],
    }
