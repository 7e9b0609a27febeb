"""What an identity provider does all day, against any SCIM server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
IMPORTERS = 8
"""Connections of an import; identity providers use a few."""


def user(name: str, **more: Any) -> dict[str, Any]:
    """A user as an identity provider sends it."""
    return {
        "schemas": [USER],
        "userName": f"{name}@bench.example",
        "externalId": f"external-{name}",
        "active": True,
        "displayName": f"Bench {name}",
        "name": {"givenName": "Bench", "familyName": name, "formatted": f"Bench {name}"},
        "emails": [{"value": f"{name}@bench.example", "type": "work", "primary": True}],
        **more,
    }


class Server:
    """A SCIM server under load, and what was put there."""

    def __init__(self, base_url: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers["Content-Type"] = "application/scim+json"
        self.client = httpx.Client(base_url=base_url, headers=headers, timeout=120)
        self.users: list[str] = []

    def create(self, name: str, **more: Any) -> str:
        """Create a user; answers its id."""
        answer = self._ask("POST", "/Users", json=user(name, **more))
        identifier: str = answer["id"]
        self.users.append(identifier)
        return identifier

    def deactivate(self, identifier: str) -> None:
        """Disable a user."""
        operation = {"op": "replace", "value": {"active": False}}
        body = {"schemas": [PATCH], "Operations": [operation]}
        self._ask("PATCH", f"/Users/{identifier}", json=body)

    def read(self, identifier: str) -> None:
        """Read a user."""
        self._ask("GET", f"/Users/{identifier}")

    def find(self, name: str) -> None:
        """Look a user up as identity providers do before they write; it must be there."""
        found = self._ask("GET", "/Users", params={"filter": f'userName eq "{name}@bench.example"'})
        assert found["totalResults"] == 1, found

    def group(self, name: str, members: list[str]) -> str:
        """Create a group with members; answers its id."""
        body = {
            "schemas": [GROUP],
            "displayName": name,
            "members": [{"value": member} for member in members],
        }
        identifier: str = self._ask("POST", "/Groups", json=body)["id"]
        return identifier

    def member(self, group: str, op: str, member: str) -> None:
        """Add or remove one member of a group."""
        if op == "add":
            self.members(group, [member])
        else:
            self._patch(group, {"op": op, "path": f'members[value eq "{member}"]'})

    def members(self, group: str, members: list[str]) -> None:
        """Add members to a group."""
        value = [{"value": member} for member in members]
        self._patch(group, {"op": "add", "path": "members", "value": value})

    def _patch(self, group: str, operation: dict[str, Any]) -> None:
        self._ask("PATCH", f"/Groups/{group}", json={"schemas": [PATCH], "Operations": [operation]})

    def import_users(self, prefix: str, count: int) -> None:
        """Create many users over a few connections."""
        with ThreadPoolExecutor(IMPORTERS) as pool:
            for _ in pool.map(self.create, (f"{prefix}{number}" for number in range(count))):
                pass

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self.client.request(method, path, **more)
        answer.raise_for_status()
        return answer.json() if answer.content else None
