"""One tenant sends what costs most while another one deactivates people.

Whoever is deactivated must be refused on the next request, and soon, whatever the other one does.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from hosts import Gateway
from scim_traffic import BULK, PATCH, answered, new_group, new_user, patch, user_body

ATTACKERS = 32
ENTRIES = 1000
"""E-mail addresses of one user of the attackers' tenant."""

MOST = 0.25
"""Seconds from a deactivation to the refusal of the next request, for 99 of 100."""

GIVEN_UP = 60.0


@dataclass(frozen=True)
class Costly:
    """A request of the attackers."""

    name: str
    method: str
    path: str
    body: Any = None


@dataclass
class Report:
    """What came of it.

    :ivar seconds: From the sending of each deactivation to the refusal of the next request.
    :ivar attacks: Answers to the attackers, by kind and status.
    """

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    attacks: Counter[tuple[str, int]] = field(default_factory=Counter)

    def percentile(self, share: float) -> float:
        """Return within how many seconds this share of them was refused."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def text(self) -> str:
        """Return it for people."""
        attacks = ", ".join(
            f"{name} {status}: {count}" for (name, status), count in sorted(self.attacks.items())
        )
        times = " ".join(f"p{int(100 * p)} {1000 * self.percentile(p):.0f} ms" for p in (0.5, 0.99))
        longest = 1000 * max(self.seconds)
        return (
            f"{len(self.seconds)} deactivations refused on the next request: {times}, "
            f"longest {longest:.0f} ms; attacks: {attacks}; {len(self.failures)} failures"
        )


class Siege:
    """Tenant ``b`` of a gateway besieges tenant ``a``.

    :param people: How many tenant ``a`` deactivates, evenly over the time.
    :param others: Users of tenant ``b`` that its searches look through.
    """

    def __init__(self, gateway: Gateway, *, people: int, others: int) -> None:
        self._gateway = gateway
        self._people = [new_user(gateway.scim)["id"] for _ in range(people)]
        self._keys = [gateway.give_key(each) for each in self._people]
        scim = gateway.other_scim
        emails = [{"value": f"x{n}@b.example", "type": "work"} for n in range(ENTRIES)]
        target = new_user(scim, emails=emails)["id"]
        created = []
        for start in range(0, others, 500):
            operations = [
                {
                    "method": "POST",
                    "path": "/Users",
                    "bulkId": str(n),
                    "data": user_body(emails=emails[n % 7 : n % 7 + 2]),
                }
                for n in range(start, min(start + 500, others))
            ]
            answer = scim.post("/Bulk", json={"schemas": [BULK], "Operations": operations})
            created += [
                each["location"].rpartition("/")[2] for each in answered(answer, 200)["Operations"]
            ]
        new_group(scim, *created)
        self._requests = list(costly(target))

    def lay(self, seconds: float) -> Report:
        """Attack for so long, and return what came of it."""
        report, pause = Report(), seconds / len(self._people)
        with Attackers(self._gateway, self._requests, seconds) as attackers:
            began = time.monotonic()
            for number, (user, key) in enumerate(zip(self._people, self._keys, strict=True)):
                time.sleep(max(0.0, began + number * pause - time.monotonic()))
                self._deactivate(user, key, report)
            report.attacks = attackers.answers()
        return report

    def _deactivate(self, user: str, key: str, report: Report) -> None:
        gateway = self._gateway
        if gateway.call(key, "/keyed").status_code != 200:
            report.failures.append(f"{user} was refused before")
        started = time.monotonic()
        operation = {"op": "replace", "path": "active", "value": False}
        answer = patch(gateway.scim, f"/Users/{user}", operation)
        refusal = gateway.call(key, "/keyed")
        report.seconds.append(time.monotonic() - started)
        if answer.status_code != 200:
            report.failures.append(f"{answer.status_code}: {answer.text[:300]}")
        if refusal.status_code not in (401, 403):
            report.failures.append(f"{user} got {refusal.status_code} after the deactivation")


class Attackers:
    """A process of attackers: what they compute must not slow the deactivations' clock."""

    def __init__(self, gateway: Gateway, requests: list[Costly], seconds: float) -> None:
        self._order = json.dumps(
            {
                "base": gateway.other_base,
                "authorization": gateway.other_scim.headers["Authorization"],
                "requests": [vars(each) for each in requests],
                "seconds": seconds,
            }
        )

    def __enter__(self) -> Attackers:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._order)
        self._process.stdin.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def answers(self) -> Counter[tuple[str, int]]:
        """Wait for their end, and return what they were answered."""
        assert self._process.stdout is not None
        found = json.loads(self._process.stdout.read())
        return Counter({(name, status): count for name, status, count in found})


def costly(target: str) -> Iterator[Costly]:
    """Yield requests that cost much for their size.

    :param target: The id of a user with :data:`ENTRIES` e-mail addresses.
    """
    exact = [_operation(f'emails[value eq "x{n}@b.example"].type') for n in range(500)]
    parts = [_operation(f'emails[value co "x{n}"].type') for n in range(500)]
    yield Costly("patch", "PATCH", f"/Users/{target}", _patch(exact))
    yield Costly("patch-co", "PATCH", f"/Users/{target}", _patch(parts))
    yield Costly("patch-few", "PATCH", f"/Users/{target}", _patch(parts[:5]))
    for name, term, count in [
        ("groups", 'groups.display co "z{}"', 250),
        ("emails", 'emails.value ew "z{}"', 250),
        ("nested", 'emails[value co "z{0}" and type co "y{0}"]', 120),
        ("not", 'not (emails.value eq "z{}")', 250),
        ("few", 'emails.value co "z{}"', 8),
        ("few-groups", 'groups.display co "z{}"', 2),
        ("exact", 'userName eq "z{}"', 250),
    ]:
        wanted = " or ".join(term.format(n) for n in range(count))
        yield Costly(f"search-{name}", "POST", "/Users/.search", _search(wanted))
    yield Costly("list", "GET", f"/Users?count=200&sortBy=emails.value&filter={quote('id pr')}")
    yield Costly("bulk", "POST", "/Bulk", _bulk(target, parts[:50], 200))
    yield Costly("bulk-few", "POST", "/Bulk", _bulk(target, exact[:1], 20))
    yield Costly("create", "POST", "/Users", None)


def _operation(path: str) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": "home"}


def _patch(operations: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schemas": [PATCH], "Operations": operations}


def _search(wanted: str) -> dict[str, Any]:
    return {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": wanted}


def _bulk(target: str, operations: list[dict[str, Any]], count: int) -> dict[str, Any]:
    one = {"method": "PATCH", "path": f"/Users/{target}", "data": _patch(operations)}
    return {"schemas": [BULK], "Operations": [one] * count}


def attack(order: dict[str, Any]) -> Counter[tuple[str, int]]:
    """Send the requests in turn, each attacker from another one on, until the time is over."""
    url, deadline = urlsplit(order["base"]), time.monotonic() + order["seconds"]
    requests = [Costly(**each) for each in order["requests"]]
    found: Counter[tuple[str, int]] = Counter()
    headers = {
        "Authorization": order["authorization"],
        "Content-Type": "application/scim+json",
    }

    def run(number: int) -> None:
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=GIVEN_UP)
        turn = itertools.islice(itertools.cycle(requests), number, None)
        while time.monotonic() < deadline:
            request = next(turn)
            body = user_body() if request.name == "create" else request.body
            text = None if body is None else json.dumps(body)
            try:
                connection.request(request.method, url.path + request.path, text, headers)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except OSError:
                connection.close()
                status = 0
            found[request.name, status] += 1

    threads = [threading.Thread(target=run, args=(n,)) for n in range(ATTACKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


if __name__ == "__main__":
    answers = attack(json.load(sys.stdin))
    print(json.dumps([[name, status, count] for (name, status), count in answers.items()]))
