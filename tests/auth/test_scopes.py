"""What each scope opens, and what is answered where it is missing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from access_support import challenge, client, plugin_with

from scim_traffic import answered, refused, user_body

ALL = ["scim:read", "scim:users", "scim:groups", "scim:bulk"]
GROUP = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "g"}
NOBODY = "11111111-1111-4111-8111-111111111111"
PATCH = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [{"op": "replace", "path": "displayName", "value": "x"}],
}

BULK = {"Operations": [{"method": "DELETE", "path": f"/Users/{NOBODY}"}]}

# operation -> the scopes each of which is enough; the first is the one that an error names
OPERATIONS: list[tuple[str, str, Any, list[str]]] = [
    ("GET", "/Users", None, ["scim:read", "scim:users"]),
    ("GET", f"/Users/{NOBODY}", None, ["scim:read", "scim:users"]),
    ("POST", "/Users/.search", {}, ["scim:read", "scim:users"]),
    ("POST", "/Users", user_body(), ["scim:users"]),
    ("PUT", f"/Users/{NOBODY}", user_body(), ["scim:users"]),
    ("PATCH", f"/Users/{NOBODY}", PATCH, ["scim:users"]),
    ("DELETE", f"/Users/{NOBODY}", None, ["scim:users"]),
    ("GET", "/Groups", None, ["scim:read", "scim:groups"]),
    ("POST", "/Groups/.search", {}, ["scim:read", "scim:groups"]),
    ("POST", "/Groups", GROUP, ["scim:groups"]),
    ("PUT", f"/Groups/{NOBODY}", GROUP, ["scim:groups"]),
    ("PATCH", f"/Groups/{NOBODY}", PATCH, ["scim:groups"]),
    ("DELETE", f"/Groups/{NOBODY}", None, ["scim:groups"]),
    (
        "POST",
        "/Bulk",
        {"Operations": [{"method": "DELETE", "path": f"/Users/{NOBODY}"}]},
        ["scim:bulk"],
    ),
]


def token_of(scopes: list[str]) -> dict[str, Any]:
    return {"name": "t", "value": "t", "scopes": scopes}


def scim_with(monkeypatch: pytest.MonkeyPatch, scopes: list[str]) -> tuple[httpx.Client, Any]:
    plugin, directory = plugin_with(monkeypatch, tokens=[token_of(scopes)])
    return client(plugin, token="t"), directory


@pytest.mark.parametrize("scope", [*ALL, "scim:events", "scim:admin"])
@pytest.mark.parametrize(
    ("method", "path", "body", "enough"),
    OPERATIONS,
    ids=[f"{method} {path.replace(NOBODY, 'id')}" for method, path, *_ in OPERATIONS],
)
def test_an_operation_is_open_to_its_scopes_alone(  # noqa: PLR0917 - a table
    monkeypatch: pytest.MonkeyPatch,
    scope: str,
    method: str,
    path: str,
    body: Any,
    enough: list[str],
) -> None:
    scim, directory = scim_with(monkeypatch, [scope])
    response = scim.request(method, path, json=body)
    if scope in [*enough, "scim:admin"]:
        assert response.status_code != 403
        return
    assert enough[0] in refused(response, 403)
    assert f'error="insufficient_scope", scope="{enough[0]}"' in challenge(response)
    assert directory.reached == []


@pytest.mark.parametrize("scopes", [[], ALL])
def test_a_token_without_scopes_may_provision_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, scopes: list[str]
) -> None:
    scim, _ = scim_with(monkeypatch, scopes)
    for method, path, body, _ in OPERATIONS:
        refused_it = scim.request(method, path, json=body).status_code == 403
        assert refused_it == path.startswith("/Events"), path


@pytest.mark.parametrize("path", ["/ServiceProviderConfig", "/Schemas", "/ResourceTypes"])
def test_discovery_is_open_to_every_token(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    scim, _ = scim_with(monkeypatch, ["scim:events"])
    answered(scim.get(path), 200)


def test_a_bulk_request_needs_the_scopes_of_its_operations_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scim, directory = scim_with(monkeypatch, ["scim:bulk", "scim:users"])
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": user_body("bulk@example.com")},
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": GROUP},
        {"method": "DELETE", "path": f"/Groups/{NOBODY}"},
    ]
    answer = answered(scim.post("/Bulk", json={"Operations": operations}), 200)
    assert [each["status"] for each in answer["Operations"]] == ["201", "403", "403"]
    assert "scim:groups" in answer["Operations"][1]["response"]["detail"]
    assert "delete" not in directory.reached


def test_a_search_of_everything_finds_what_the_token_may_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin, _ = plugin_with(
        monkeypatch, tokens=[token_of(["scim:groups"]), {"name": "all", "value": "all"}]
    )
    every = client(plugin, token="all")
    every.post("/Users", json=user_body()).raise_for_status()
    every.post("/Groups", json=GROUP).raise_for_status()
    assert answered(every.get("/"), 200)["totalResults"] == 2
    assert answered(client(plugin, token="t").get("/"), 200)["totalResults"] == 1
    refused(scim_with(monkeypatch, ["scim:bulk"])[0].get("/"), 403)
