"""What an identity provider does all day, against any SCIM server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import psutil

from bench import load

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


@dataclass(eq=False)
class Server:
    """A SCIM server under load, and what was put there.

    :param processes: Returns the processes that serve, by what they do.
    :ivar users: The ids of the users that were created here.
    """

    base_url: str
    token: str = "none"
    content_type: str = "application/scim+json"
    name: str = ""
    processes: Callable[[], Mapping[str, Sequence[psutil.Process]]] = dict
    users: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        self.address = load.address_of(self.base_url)
        self._path = parts.path
        self._numbers = itertools.count()

    # -- Requests -----------------------------------------------------------

    def request(
        self, method: str, path: str, body: Any = None, *, token: str | None = None
    ) -> bytes:
        """Return a request as octets."""
        octets = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        lines = [
            f"{method} {self._path}{path} HTTP/1.1",
            f"Host: {self.address[0]}:{self.address[1]}",
            f"Authorization: Bearer {token or self.token}",
        ]
        if body is not None:
            lines += [f"Content-Type: {self.content_type}", f"Content-Length: {len(octets)}"]
        return "\r\n".join([*lines, "", ""]).encode() + octets

    def creation(self, name: str, **more: Any) -> bytes:
        """Return the request that creates a user."""
        return self.request("POST", "/Users", user(name, **more))

    def creations(self, prefix: str, **more: Any) -> Iterator[bytes]:
        """Yield requests that create users that are not there yet."""
        for number in self._numbers:
            yield self.creation(f"{prefix}{number}", **more)

    def reading(self, identifier: str) -> bytes:
        """Return the request that reads a user."""
        return self.request("GET", f"/Users/{identifier}")

    def finding(self, name: str) -> bytes:
        """Return the request that identity providers send before they write."""
        return self.search(f'userName eq "{name}@bench.example"')

    def search(self, filter_: str, resources: str = "Users") -> bytes:
        """Return the request for the resources that a filter matches."""
        return self.request("GET", f"/{resources}?filter={quote(filter_)}")

    def group_creation(self, name: str, members: Iterable[str]) -> bytes:
        """Return the request that creates a group with members."""
        listed = [{"value": member} for member in members]
        return self.request(
            "POST", "/Groups", {"schemas": [GROUP], "displayName": name, "members": listed}
        )

    def adding(self, group: str, members: Iterable[str]) -> bytes:
        """Return the request that adds members to a group."""
        listed = [{"value": member} for member in members]
        return self.group_patch(group, {"op": "add", "path": "members", "value": listed})

    def removing(self, group: str, member: str) -> bytes:
        """Return the request that removes a member from a group."""
        return self.group_patch(group, {"op": "remove", "path": f'members[value eq "{member}"]'})

    def group_patch(self, group: str, *operations: dict[str, Any]) -> bytes:
        """Return the request that changes a group."""
        return self._patch(f"/Groups/{group}", *operations)

    def user_patch(self, identifier: str, **values: Any) -> bytes:
        """Return the request that replaces attributes of a user."""
        return self._patch(f"/Users/{identifier}", {"op": "replace", "value": values})

    def _patch(self, path: str, *operations: dict[str, Any]) -> bytes:
        return self.request("PATCH", path, {"schemas": [PATCH], "Operations": [*operations]})

    # -- Load ---------------------------------------------------------------

    def send(
        self, requests: Iterable[bytes], connections: int = 1, seconds: float | None = None
    ) -> load.Run:
        """Send requests, each of which must succeed."""
        return load.send(self.address, requests, connections=connections, seconds=seconds)

    def ask(self, request: bytes) -> Any:
        """Send one request, and return the JSON of its answer."""
        (answer,) = self.send([request]).answers
        return answer.json()

    def create(self, name: str, **more: Any) -> str:
        """Create a user; answers its id."""
        identifier: str = self.ask(self.creation(name, **more))["id"]
        self.users.append(identifier)
        return identifier

    def import_users(
        self, prefix: str, count: int, connections: int = IMPORTERS, **more: Any
    ) -> load.Run:
        """Create many users over a few connections. The ids are in the order of the names."""
        requests = (self.creation(f"{prefix}{number}", **more) for number in range(count))
        run = self.send(requests, connections)
        answers = sorted(run.answers, key=lambda answer: answer.number)
        self.users += [answer.json()["id"] for answer in answers]
        return run

    def deactivate(self, identifier: str) -> None:
        """Disable a user."""
        self.ask(self.user_patch(identifier, active=False))

    def find(self, name: str) -> None:
        """Look a user up; it must be there."""
        found = self.ask(self.finding(name))
        assert found["totalResults"] == 1, found

    def retitle(self, identifier: str, title: str) -> None:
        """Change an attribute of a user that is nothing to Kong."""
        self.ask(self.user_patch(identifier, title=title))

    def events(self) -> int:
        """Return how many events were sealed."""
        length: int = self.ask(self.request("GET", "/Events/chain"))["length"]
        return length

    def group(self, name: str, members: Iterable[str]) -> str:
        """Create a group with members; answers its id."""
        identifier: str = self.ask(self.group_creation(name, members))["id"]
        return identifier

    def member(self, group: str, op: str, member: str) -> None:
        """Add or remove one member of a group."""
        adding = op == "add"
        self.ask(self.adding(group, [member]) if adding else self.removing(group, member))
