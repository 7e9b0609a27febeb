"""SCIM user creation through a real Kong beside the same three writes over Kong's Admin API."""

from __future__ import annotations

import os
from collections.abc import Callable

from bench.timing import Ratio, compare
from bench.workloads import Server
from hosts import Gateway, running_gateway

ROLES = ("reader", "writer")
AIM = 1.0


def measure(say: Callable[[str], None]) -> list[Ratio]:
    """Compare one POST of a user with two roles to a consumer and two ACL groups by hand."""
    if not os.environ.get("KONG_SCIM_KONG"):
        say("  A real Kong: skipped, KONG_SCIM_KONG does not name its binary")
        return []
    with running_gateway("kong-postgres") as gateway:
        scim = Server(gateway.scim_base, gateway.token)
        roles = [{"value": role} for role in ROLES]
        return [
            compare(
                "create a user, its consumer and two groups",
                lambda number: scim.create(f"scim{number}", roles=roles) and None,
                lambda number: _by_hand(gateway, f"admin{number}"),
                against="Admin API, three calls",
                aim=AIM,
            )
        ]


def _by_hand(gateway: Gateway, name: str) -> None:
    body = {"username": f"{name}@bench.example", "custom_id": f"external-{name}"}
    consumer = gateway.admin.post("/consumers", json=body).raise_for_status().json()
    for role in ROLES:
        answer = gateway.admin.post(f"/consumers/{consumer['id']}/acls", json={"group": role})
        answer.raise_for_status()
