"""Whatever dies during a write: afterwards SCIM and Kong agree, and nobody got in who must not."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from mixed_writes import MixedWrites

from agreement import disagreements
from hosts import Gateway, eventually

pytestmark = pytest.mark.long

WRITES = 80
"""Enough that each of the kills falls among writes."""

WRITES_OF_KONG_HYBRID = 300
"""The same where a control plane that was killed is away for ten seconds."""


def crash_postgres(gateway: Gateway) -> None:
    gateway.host.postgres.stop("immediate")
    gateway.host.postgres.start()


def cut_channel(host: Any) -> None:
    host.connect(False)
    host.connect(True)


def faults(gateway: Gateway) -> list[Callable[[], None]]:
    """What can die on a host: each in a process of its own, so each can die alone."""
    host: Any = gateway.host
    found = [gateway.kill_plugin_server, gateway.kill_gateway]
    if not gateway.name.startswith("sandbox"):
        found.append(host.kill_node)
    if gateway.name.startswith("kong-hybrid"):
        found.append(host.kill_control_plane)
    elif gateway.name == "sandbox-hybrid":
        found.append(lambda: cut_channel(host))
    if host.postgres is not None:
        found.append(lambda: crash_postgres(gateway))
    return found


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1])
def test_kills_during_mixed_writes_leave_scim_and_kong_in_agreement(
    fresh_gateway: Gateway, seed: int
) -> None:
    gateway = fresh_gateway
    random = Random(seed)
    possible = faults(gateway)
    kills = possible * 2
    random.shuffle(kills)
    total = WRITES_OF_KONG_HYBRID if gateway.name.startswith("kong-hybrid") else WRITES
    writes = MixedWrites(gateway, seed, total)
    writes.start()
    moments = sorted(random.sample(range(20, total - 20), len(kills)))
    for moment, kill in zip(moments, kills, strict=True):
        writes.reached(moment)
        kill()
    writes.join()
    gateway.wait()

    assert writes.unexpected == []
    assert writes.outcomes["201"] > 20, writes.outcomes
    assert disagreements(gateway) == []
    eventually(lambda: not wrong_keys(gateway, writes.keys), "caches that say what is stored")

    gateway.restart()

    assert disagreements(gateway) == []
    assert wrong_keys(gateway, writes.keys) == []


def wrong_keys(gateway: Gateway, keys: list[str]) -> list[str]:
    """Return the keys that open what they must not, or do not open what they must."""
    suspended = {
        consumer["id"]: "scim:suspended" in consumer["tags"] for consumer in gateway.consumers()
    }
    alive = {}
    for consumer, is_suspended in suspended.items():
        path = f"/consumers/{consumer}/key-auth"
        for key in gateway.admin.get(path).raise_for_status().json()["data"]:
            alive[key["key"]] = 403 if is_suspended else 200
    return [
        f"{key}: {answer.status_code} instead of {alive.get(key, 401)}"
        for key in keys
        for answer in [gateway.call(key, "/keyed")]
        if answer.status_code != alive.get(key, 401)
    ]
