"""How soon a disabled user is refused by the data planes of a hybrid gateway."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import httpx

from bench.options import OPTIONS
from bench.timing import Ratio
from bench.workloads import Server
from hosts import Gateway, running_gateway

ROUNDS = 200
BOUND = 1.0
"""Seconds until every data plane that is connected refuses."""

HOSTS = {
    "kong-hybrid": "the whole configuration",
    "kong-hybrid-deltas": "changes of the configuration",
}


def measure(say: Callable[[str], None]) -> list[Ratio]:
    """Disable users at each data plane in turn; time until the other one refuses their keys."""
    if not os.environ.get("KONG_SCIM_KONG"):
        say("  A hybrid Kong: skipped, KONG_SCIM_KONG does not name a binary")
        return []
    return [_on(host, say) for host in HOSTS]


def _on(host: str, say: Callable[[str], None]) -> Ratio:
    rounds = OPTIONS.sized(ROUNDS)
    with running_gateway(host) as gateway:
        path = httpx.URL(gateway.scim_base).path
        nodes = [Server(url + path, gateway.token) for url in gateway.host.proxy_urls]
        users = [nodes[number % 2].create(f"user{number}") for number in range(rounds)]
        with httpx.Client(base_url=gateway.host.admin_url, trust_env=False) as admin:
            keys = [_new_key(admin, user) for user in users]
        gateway.host.is_settled = False
        gateway.host.settle()
        found = []
        for number, (user, key) in enumerate(zip(users, keys, strict=True)):
            own = number % 2
            assert _status(gateway, own, key) == _status(gateway, 1 - own, key) == 200
            found.append(_revoke(gateway, nodes[own], own, user, key))
    at_once = sum(refused for refused, _ in found)
    later = [other * 1000 for _, other in found]
    told = "refused on the very next request where it was told"
    say(f"  {HOSTS[host]}: {told}: {at_once} of {rounds}")
    say(
        f"  the other data plane: {sum(each <= BOUND * 1000 for each in later)} of {rounds} within "
        f"{BOUND:g} s, median {statistics.median(later):.0f} ms, longest {max(later):.0f} ms"
    )
    return Ratio(
        f"longest time until the other data plane refuses ({HOSTS[host]})",
        max(later) / 1000,
        BOUND,
        "1 s",
        rounds,
        1.0,
    )


def _new_key(admin: httpx.Client, user: str) -> str:
    made: str = admin.post(f"/consumers/{user}/key-auth", json={}).raise_for_status().json()["key"]
    return made


def _revoke(gateway: Gateway, scim: Server, own: int, user: str, key: str) -> tuple[bool, float]:
    """Disable a user at one data plane; return whether it refuses, and when the other one does."""
    scim.deactivate(user)
    told = time.monotonic()
    refused = _status(gateway, own, key) in {401, 403}
    while _status(gateway, 1 - own, key) not in {401, 403}:
        time.sleep(0.001)
    return refused, time.monotonic() - told


def _status(gateway: Gateway, node: int, key: str) -> int:
    url = f"{gateway.host.proxy_urls[node]}/keyed"
    return httpx.get(url, headers={"apikey": key}, trust_env=False, verify=False).status_code
