"""Clients that write at random: users and groups, made, changed, joined and deleted in any order.

What each does follows from the seed; how they meet does not.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from hosts import GROUP, PATIENCE, Gateway, eventually, scim_client
from scim_traffic import CORE_GROUP, PATCH, user_body

_ANSWERS = frozenset({200, 201, 204, 400, 404, 409})
"""What a write may be answered when nothing is wrong: 400, 404 and 409 because somebody else
deleted or made the same resource in the meantime."""

_UNKNOWN_PAUSE = 0.05
"""Seconds after a request that nobody answered, so that an outage does not use up the writes."""


@dataclass
class MixedWrites:
    """Several clients of one tenant, and what they did.

    :ivar keys: An API key of most users, given right after the user was made.
    :ivar unexpected: Answers that no outage explains.
    """

    gateway: Gateway
    seed: int
    total: int
    clients: int = 4
    keys: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    _users: list[str] = field(default_factory=list)
    _groups: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _written: int = 0

    @property
    def _patience(self) -> float:
        """Seconds to wait. A control plane that was killed is away for ten seconds, and then Kong
        takes five for each data plane that is not connected yet."""
        return 240 if self.gateway.name.startswith("kong-hybrid") else PATIENCE

    def start(self) -> None:
        """Start writing."""
        self._threads = [
            threading.Thread(target=self._client, args=(number,), daemon=True)
            for number in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()

    def reached(self, writes: int) -> None:
        """Wait until so many writes were answered, or lost on their way."""
        done = f"{writes} writes"
        eventually(lambda: self._written >= writes or not self._running(), done, self._patience)

    def join(self) -> None:
        """Wait until all is written.

        :raises TimeoutError: When a client hangs.
        """
        eventually(lambda: not self._running(), "the clients to end", self._patience)

    def _running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _client(self, number: int) -> None:
        random = Random(f"{self.seed}-{number}")
        with scim_client(self.gateway.scim_base, self.gateway.token) as scim:
            while self._written < self.total:
                method, path, body = self._next(random)
                counted, answer = self._send(scim, method, path, body)
                with self._lock:
                    self._written += counted
                if answer is not None and answer.status_code == 201:
                    self._made(path, answer.json()["id"])

    def _send(
        self, scim: httpx.Client, method: str, path: str, body: Any
    ) -> tuple[bool, httpx.Response | None]:
        """Send a write; answers whether it counts, and the answer if there is one."""
        try:
            answer = scim.request(method, path, json=body)
        except httpx.ConnectError:
            self.outcomes["refused"] += 1
            time.sleep(_UNKNOWN_PAUSE)
            return False, None
        except httpx.TransportError:
            self.outcomes["lost"] += 1
            return True, None
        self.outcomes[str(answer.status_code)] += 1
        if answer.status_code >= 500:
            time.sleep(_UNKNOWN_PAUSE)
            return False, answer
        if answer.status_code not in _ANSWERS:
            self.unexpected.append(f"{method} {path} {body}: {answer.status_code} {answer.text}")
        return True, answer

    def _made(self, path: str, resource_id: str) -> None:
        if path == "/Users":
            url = self.gateway.keys_path(resource_id)
            try:
                answer = self.gateway.admin.post(url, json={})
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 201:
                self.keys.append(answer.json()["key"])
        with self._lock:
            (self._users if path == "/Users" else self._groups).append(resource_id)

    def _next(self, random: Random) -> tuple[str, str, Any]:
        with self._lock:
            users, groups = list(self._users), list(self._groups)
        if len(users) < 6 or random.random() < 0.15:
            number = random.randrange(10**9)
            roles = [{"value": "admin"}] if random.random() < 0.3 else []
            external = {"externalId": f"00u{number}"} if random.random() < 0.7 else {}
            return "POST", "/Users", user_body(f"user-{number}", roles=roles, **external)
        if len(groups) < 3 or random.random() < 0.05:
            members = [{"value": each} for each in random.sample(users, 2)]
            name = GROUP if random.random() < 0.3 else f"group-{random.randrange(10**9)}"
            body = {"schemas": [CORE_GROUP], "displayName": name, "members": members}
            return "POST", "/Groups", body
        user, group = random.choice(users[-12:]), random.choice(groups[-6:])
        number = random.randrange(10**6)
        joining = {"op": "add", "path": "members", "value": [{"value": user}]}
        nesting = {"op": "add", "path": "members", "value": [{"value": random.choice(groups)}]}
        leaving = {"op": "remove", "path": f'members[value eq "{user}"]'}
        active = {"op": "replace", "value": {"active": True}}
        inactive = {"op": "replace", "value": {"active": False}}
        renamed = {"op": "replace", "path": "userName", "value": f"renamed-{number}"}
        regrouped = {"op": "replace", "path": "displayName", "value": f"team-{number}"}
        roles = {"op": "replace", "path": "roles", "value": [{"value": random.choice("xyz")}]}
        body = user_body(f"put-{number}", externalId=f"put-{number}", title="Engineer")
        choices: list[tuple[int, tuple[str, str, Any]]] = [
            (20, ("PATCH", f"/Groups/{group}", joining)),
            (10, ("PATCH", f"/Groups/{group}", leaving)),
            (6, ("PATCH", f"/Groups/{group}", regrouped)),
            (4, ("PATCH", f"/Groups/{group}", nesting)),
            (3, ("DELETE", f"/Groups/{group}", None)),
            (14, ("PATCH", f"/Users/{user}", inactive)),
            (10, ("PATCH", f"/Users/{user}", active)),
            (6, ("PATCH", f"/Users/{user}", renamed)),
            (6, ("PATCH", f"/Users/{user}", roles)),
            (6, ("PUT", f"/Users/{user}", body)),
            (5, ("DELETE", f"/Users/{user}", None)),
        ]
        weights, requests = zip(*choices, strict=True)
        method, path, content = random.choices(requests, weights)[0]
        if method == "PATCH":
            content = {"schemas": [PATCH], "Operations": [content]}
        return method, path, content
