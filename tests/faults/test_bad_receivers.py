"""Webhooks while everything around them fails: nothing is lost, and each resource in order."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from hosts import Gateway, eventually, running_gateway
from on_clock import Clock
from outbox import events
from receiver import CLOSE, DRIP_HEAD, HALF, HANG, Answer, Receiver, receiver
from scim_traffic import BULK, CORE_USER, PATCH, answered

pytestmark = pytest.mark.long

CHANGES = 200
PEOPLE = 40
KILLS = 3

_MIX: list[Answer] = [
    *[200] * 96,
    *[500] * 12,
    *[(429, {"Retry-After": "60"}, "")] * 4,
    *[(503, {"Retry-After": text}, "") for text in ("\xb2", "+99999999999999999999", "1e9")],
    *[HALF] * 4,
    *[CLOSE] * 4,
    HANG,
    DRIP_HEAD,
]


def test_all_changes_arrive_whatever_the_receiver_and_the_plugin_server_do(
    host_name: str, tmp_path: Path
) -> None:
    """Pauses, rests and leases, which take minutes, pass by the test's clock."""
    chance, clock = random.Random(7), Clock(tmp_path / "clock")
    with receiver() as hook:
        config = {
            "webhooks": [{"name": "bad", "url": hook.url, "secret": "s"}],
            "allow_http": True,
            "allow_hosts": ["127.0.0.1"],
            "timeout": 1,
        }
        with running_gateway(host_name, events=config, clock=clock) as gateway:
            before = len(events(gateway))
            hook.behave = lambda _: chance.choice(_MIX)
            written = _Writing(gateway)
            for kill in range(1, KILLS + 1):
                written.reached(kill * CHANGES // (KILLS + 1))
                gateway.kill_plugin_server()
            dead: Callable[[bytes], Answer] = lambda _: CLOSE  # noqa: E731
            mixed, hook.behave = hook.behave, dead
            written.join()
            gateway.wait()
            # A while without any answer, in which the target comes to rest.
            count = len(hook.posts)
            eventually(clock.passing(lambda: len(hook.posts) >= count + 8), "tries in vain")
            hook.behave = mixed
            all_events = events(gateway)[before:]
            assert len(all_events) >= CHANGES
            ids = {event["id"] for event in all_events}
            eventually(
                clock.passing(lambda: {post.event["id"] for post in hook.taken()} >= ids),
                "every event to arrive",
            )
            hook.behave = lambda _: 200
            _hold(hook, gateway, all_events, clock)


def _hold(hook: Receiver, gateway: Gateway, all_events: list[dict[str, Any]], clock: Clock) -> None:
    taken = [post.event for post in hook.taken()]
    assert {event["id"] for event in taken} >= {event["id"] for event in all_events}
    by_resource: defaultdict[str, list[int]] = defaultdict(list)
    for event in taken:
        places = by_resource[event["resourceId"]]
        if event["sequence"] not in places:
            places.append(event["sequence"])
    assert [each for each in by_resource.values() if each != sorted(each)] == []

    def states() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["id"] if found else 0
            answer = gateway.scim.get("/Events/deliveries", params={"after": after})
            page = answer.raise_for_status().json()["deliveries"]
            if not page:
                return found
            found += page

    known = {event["id"] for event in taken}
    marked = {each["event"] for each in states() if each["state"] == "delivered"}
    assert marked <= known
    eventually(
        clock.passing(lambda: {each["state"] for each in states()} == {"delivered"}),
        "all to be marked",
    )


class _Writing:
    """Changes one after the other, in bulk, each sent until it is answered."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.done = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def reached(self, changes: int) -> None:
        eventually(lambda: self.done >= changes or not self._thread.is_alive(), "writes", 120)

    def join(self) -> None:
        eventually(lambda: not self._thread.is_alive(), "the writes to end", 240)
        assert self.done >= CHANGES

    def _run(self) -> None:
        people = []
        for start in range(0, PEOPLE, 20):
            operations = [
                {
                    "method": "POST",
                    "path": "/Users",
                    "bulkId": f"b{number}",
                    "data": {"schemas": [CORE_USER], "userName": f"user-{number}"},
                }
                for number in range(start, start + 20)
            ]
            done = self._send(operations)
            people += [each["location"].rsplit("/", 1)[1] for each in done if "location" in each]
        number = 0
        while self.done < CHANGES:
            chosen = [people[(number + each) % len(people)] for each in range(20)]
            number += 20
            self._send(
                [
                    {
                        "method": "PATCH",
                        "path": f"/Users/{person}",
                        "data": {
                            "schemas": [PATCH],
                            "Operations": [{"op": "replace", "value": {"title": f"t{number}"}}],
                        },
                    }
                    for person in chosen
                ]
            )

    def _send(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send a request once; what a killed plugin server leaves unanswered is not counted."""

        try:
            answer = self._gateway.scim.post(
                "/Bulk", json={"schemas": [BULK], "Operations": operations}
            )
        except httpx.TransportError:
            self._gateway.wait()
            return []
        if answer.status_code >= 500:
            self._gateway.wait()
            return []
        found: list[dict[str, Any]] = answered(answer, 200)["Operations"]
        self.done += sum(each["status"] in {"200", "201"} for each in found)
        return found
