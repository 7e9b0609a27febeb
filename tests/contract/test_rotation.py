"""Rotation under load: no valid token is ever refused, and an old one not for longer than said.

Every request is judged by when it was begun and when it was answered, against when its token came
and went. So a machine that sends slowly makes the test slow, and never fail. Not on the sandbox
with a database: nothing can change its configuration while it runs.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from hosts import Gateway, eventually, running_gateway
from kong_process import requires_kong

REQUESTS = {"sandbox-off": 1_000, "kong-postgres": 10_000, "kong-dbless": 10_000}
"""Fewer on the sandbox, for the sake of CI's time."""
SENDERS = 4
A_CONNECTION = 50
"""Requests of one connection; the next one may reach another worker."""

GRACE = 1.0
"""Seconds after which a token that was taken away must be refused (the promise)."""

KONGS_OWN = {"KONG_WORKER_STATE_UPDATE_FREQUENCY": "5", "KONG_DB_UPDATE_FREQUENCY": "5"}
"""What Kong sets where nothing is set. Other tests are in more of a hurry."""


@dataclass
class Life:
    """When a token counts, in seconds of the monotonic clock.

    :ivar coming: Before this it does not count.
    :ivar come: From here on it must.
    :ivar going: Up to here it must.
    :ivar gone: A second after this it must not.
    """

    coming: float = float("inf")
    come: float = float("inf")
    going: float = float("inf")
    gone: float = float("inf")

    def judge(self, begun: float, ended: float) -> int | None:
        """Return the only right status of a request, or None where two are."""
        if self.come <= begun and ended <= self.going:
            return 200
        if ended < self.coming or begun > self.gone + GRACE:
            return 401
        return None


@dataclass
class Load:
    """Senders of requests with all tokens: four of five with one that counts just now."""

    gateway: Gateway
    lives: dict[str, Life]
    current: list[str]
    records: list[tuple[str, float, float, int]] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    def send(self) -> None:
        bases = itertools.cycle(self.gateway.host.proxy_urls)
        path = httpx.URL(self.gateway.scim_base).path
        numbers = itertools.count()
        while not self.enough.is_set():
            with httpx.Client(base_url=next(bases) + path, timeout=60, verify=False) as client:
                for number in itertools.islice(numbers, A_CONNECTION):
                    among = list(self.lives) if number % 5 == 0 else self.current
                    self._ask(client, among[number // 5 % len(among)])

    def _ask(self, client: httpx.Client, token: str) -> float:
        begun = time.monotonic()
        answer = client.get("/ServiceProviderConfig", headers={"Authorization": f"Bearer {token}"})
        self.records.append((token, begun, time.monotonic(), answer.status_code))
        return begun

    def reach(self, share: float) -> None:
        """Wait until this share of the requests was answered."""
        wanted = REQUESTS[self.gateway.name] * share
        eventually(lambda: len(self.records) >= wanted, f"{wanted:g} requests", 240)

    def come(self, token: str, change: Callable[[], None]) -> None:
        """Have a token count by a change that holds when it returns, and use it."""
        self.lives[token].coming = time.monotonic()
        change()
        self.lives[token].come = time.monotonic()
        self.current.append(token)

    def go(self, token: str, change: Callable[[], None]) -> None:
        """Use a token no more, take it away by a change, and try it at every node until long after.

        Each time over a connection of its own, which may reach another worker.
        """
        self.current.remove(token)
        self.lives[token].going = time.monotonic()
        change()
        self.lives[token].gone = time.monotonic()
        path = httpx.URL(self.gateway.scim_base).path
        for base in itertools.cycle(self.gateway.host.proxy_urls):
            with httpx.Client(base_url=base + path, timeout=60, verify=False) as client:
                if self._ask(client, token) > self.lives[token].gone + 1.5 * GRACE:
                    return

    def verdict(self) -> dict[str, int]:
        """Judge every request; answer how many there are of which status and why."""
        found = Counter[str]()
        for token, begun, ended, status in self.records:
            right = self.lives[token].judge(begun, ended)
            what = f"{token}: {status}, must be {right}"
            if right is None:
                assert status in (200, 401), what
            else:
                assert status == right, f"{what}, {begun - self.lives[token].gone:.3f} s after"
            found[f"{right}"] += 1
        return dict(found)

    def longest(self, token: str) -> float:
        """Return for how many seconds a token went on being accepted."""
        begun = [each[1] for each in self.records if each[0] == token and each[3] == 200]
        return max(begun) - self.lives[token].gone


def replace(path: Path, *tokens: str) -> None:
    new = path.with_suffix(".new")
    new.write_text("\n".join(tokens) + "\n")
    os.replace(new, path)


def configure(gateway: Gateway, tokens: list[dict[str, object]]) -> None:
    """Give the running plugin other tokens, by the Admin API."""
    if gateway.host.dbless:
        [plugin] = [p for p in gateway.content["routes"][0]["plugins"] if p["name"] == "scim"]
        plugin["config"]["tokens"] = tokens
        gateway.admin.post("/config", json=gateway.content).raise_for_status()
        return
    [plugin] = gateway.admin.get("/routes/scim-a/plugins").json()["data"]
    change = {"config": {"tokens": tokens}}
    gateway.admin.patch(f"/plugins/{plugin['id']}", json=change).raise_for_status()


def accepted_everywhere(gateway: Gateway, token: str) -> bool:
    """Whether every worker has it: each connection may reach another one."""
    path = httpx.URL(gateway.scim_base).path + "/ServiceProviderConfig"
    headers = {"Authorization": f"Bearer {token}"}
    urls = [url + path for url in gateway.host.proxy_urls for _ in range(20)]
    return all(httpx.get(url, headers=headers, verify=False).is_success for url in urls)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "host",
    [
        "sandbox-off",
        pytest.param("kong-postgres", marks=requires_kong),
        pytest.param("kong-dbless", marks=requires_kong),
    ],
)
def test_thousands_of_requests_see_two_rotations_of_a_file_and_one_of_the_configuration(
    host: str, tmp_path: Path
) -> None:
    load = rotate(host, tmp_path, KONGS_OWN)
    judged = load.verdict()
    assert judged["200"] > REQUESTS[host] / 2
    assert judged["401"] > REQUESTS[host] / 20
    for token in ("first", "second", "extra"):
        print(f"{host}: {token} was accepted until {load.longest(token):+.3f} s after its removal")


def rotate(host: str, directory: Path, settings: dict[str, str]) -> Load:
    path = directory / "token"
    replace(path, "first")
    lives = {name: Life() for name in ("steady", "first", "second", "third", "extra")}
    lives |= {"steady": Life(0, 0), "first": Life(0, 0)}
    usual: list[dict[str, object]] = [
        {"name": "idp", "value": "{vault://env/scim-token-a}"},
        {"name": "steady", "value": "steady"},
        {"name": "file", "file": str(path)},
    ]
    with running_gateway(host, settings=settings, tokens=usual) as gateway:

        def add() -> None:
            configure(gateway, [*usual, {"name": "extra", "value": "extra"}])
            eventually(lambda: accepted_everywhere(gateway, "extra"), "the new configuration")

        load = Load(gateway, lives, ["steady", "first"])
        threads = [threading.Thread(target=load.send) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        try:
            load.reach(0.1)
            load.come("second", lambda: replace(path, "first", "second"))
            load.reach(0.2)
            load.go("first", lambda: replace(path, "second"))
            load.reach(0.35)
            load.come("extra", add)
            load.reach(0.5)
            load.go("extra", lambda: configure(gateway, usual))
            load.reach(0.65)
            load.come("third", lambda: replace(path, "second", "third"))
            load.reach(0.8)
            load.go("second", lambda: replace(path, "third"))
            load.reach(1)
        finally:
            load.enough.set()
            for thread in threads:
                thread.join()
    return load
