"""How soon a disabled user is refused: at the node that was told, and at the other one."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import httpx

from bench.options import OPTIONS
from bench.timing import Ratio
from bench.workloads import Server
from hosts import Gateway, eventually, running_gateway

ROUNDS = 40
UPDATE_FREQUENCY = 1.0
"""Seconds; ``db_update_frequency`` of the tests' nodes."""


def measure(say: Callable[[str], None]) -> list[Ratio]:
    """Compare the time until the other node refuses a key with how often it asks for changes."""
    if not os.environ.get("KONG_SCIM_KONG"):
        say("  Two nodes: skipped, KONG_SCIM_KONG does not name a binary")
        return []
    rounds = OPTIONS.sized(ROUNDS)
    with running_gateway("kong-postgres") as gateway:
        scim = Server(gateway.scim_base, gateway.token)
        found = [_revoke(gateway, scim, number) for number in range(rounds)]
    at_once = sum(own for own, _ in found)
    later = [other for _, other in found]
    say(f"  refused on the very next request at the node that was told: {at_once} of {rounds}")
    say(f"  the other node: median {statistics.median(later):.2f} s, longest {max(later):.2f} s")
    return [
        Ratio(
            "longest time until the other node refuses",
            max(later),
            UPDATE_FREQUENCY + 1,
            "db_update_frequency + 1 s",
            rounds,
            1.0,
        )
    ]


def _revoke(gateway: Gateway, scim: Server, number: int) -> tuple[bool, float]:
    """Disable a user with a key that both nodes know; answers what each does."""
    user = scim.create(f"user{number}")
    key = gateway.give_key(user)
    eventually(lambda: _status(gateway, 1, key) == 200, "the key at the other node")
    assert _status(gateway, 0, key) == 200
    scim.deactivate(user)
    told = time.monotonic()
    own = _status(gateway, 0, key) == 401
    while _status(gateway, 1, key) != 401:
        time.sleep(0.01)
    return own, time.monotonic() - told


def _status(gateway: Gateway, node: int, key: str) -> int:
    url = f"{gateway.host.proxy_urls[node]}/keyed"
    return httpx.get(url, headers={"apikey": key}, trust_env=False).status_code
