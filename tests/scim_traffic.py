"""What the tests of the protocol send, and what every answer must look like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import httpx

CORE_USER = "urn:ietf:params:scim:schemas:core:2.0:User"
CORE_GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
KONG = "urn:ietf:params:scim:schemas:extension:kong:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


def unique(stem: str) -> str:
    """Return a name that no other test uses: the gateway may be shared by all of them."""
    return f"{stem}-{uuid4().hex[:12]}"


def user_body(user_name: str | None = None, **attributes: Any) -> dict[str, Any]:
    return {"schemas": [CORE_USER], "userName": user_name or unique("user"), **attributes}


def new_user(scim: httpx.Client, user_name: str | None = None, **attributes: Any) -> dict[str, Any]:
    return answered(scim.post("/Users", json=user_body(user_name, **attributes)), 201)


def new_group(scim: httpx.Client, *members: str, name: str | None = None) -> dict[str, Any]:
    body = {
        "schemas": [CORE_GROUP],
        "displayName": name or unique("group"),
        "members": [{"value": each} for each in members],
    }
    return answered(scim.post("/Groups", json=body), 201)


def patch(
    scim: httpx.Client, path: str, *operations: dict[str, Any], **options: Any
) -> httpx.Response:
    return scim.patch(path, json={"schemas": [PATCH], "Operations": operations}, **options)


def patched_user(scim: httpx.Client, user_id: str, *operations: dict[str, Any]) -> dict[str, Any]:
    return answered(patch(scim, f"/Users/{user_id}", *operations), 200)


def patch_each(scim: httpx.Client, changes: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Change users by one request, each by an operation of its own: one commit and event each."""
    operations = [
        {
            "method": "PATCH",
            "path": f"/Users/{user_id}",
            "data": {"schemas": [PATCH], "Operations": [operation]},
        }
        for user_id, operation in changes
    ]
    answer = scim.post("/Bulk", json={"schemas": [BULK], "Operations": operations})
    assert {each["status"] for each in answered(answer, 200)["Operations"]} == {"200"}


def get(scim: httpx.Client, path: str, **params: str) -> dict[str, Any]:
    return answered(scim.get(path, params=params or None), 200)


def members_of(scim: httpx.Client, group_id: str) -> set[str]:
    return {each["value"] for each in get(scim, f"/Groups/{group_id}").get("members", [])}


def answered(response: httpx.Response, status: int) -> dict[str, Any]:
    """Return the body of an answer that must have this status and be SCIM."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("application/scim+json")
    body: dict[str, Any] = response.json()
    assert body["schemas"]
    return body


def refused(response: httpx.Response, status: int, scim_type: str | None = None) -> str:
    """Return the sentence of a SCIM error (RFC 7644 §3.12)."""
    body = answered(response, status)
    assert body["schemas"] == [ERROR]
    assert body["status"] == str(status)
    assert body.get("scimType") == scim_type, body
    assert len(body["detail"]) > 10
    return str(body["detail"])
