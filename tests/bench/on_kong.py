"""SCIM user creation through a real Kong beside the same three writes over Kong's Admin API."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator

from bench import load, servers
from bench.options import OPTIONS
from bench.results import Table, judged
from bench.timing import in_turns
from bench.workloads import Server

ROLES = ("reader", "writer")
CALLS = 1 + len(ROLES)
_WAVE = 40
"""People whose consumers are created before any of their groups, so that each consumer is there."""

AIMS = {1: 2.5, 8: 2.0}
"""The least ratio of our throughput to theirs: at most 0.4 of their time alone, twice at 8."""


def measure(say: Callable[[str], None]) -> list[Table]:
    """Compare one POST of a user with two roles to a consumer and two ACL groups by hand."""
    if not servers.has_kong():
        say("  A real Kong: skipped, KONG_SCIM_KONG does not name its binary")
        return []
    table = Table(
        "kong",
        "A user, its consumer and two groups: SCIM beside the Admin API's three calls",
        ("", "SCIM (people a second)", "Admin API (people a second)", "ratio", "aim"),
    )
    with servers.gateway("kong-postgres", nodes=1) as (scim, gateway):
        admin = Server(gateway.host.admin_url, content_type="application/json")
        for connections, aim in AIMS.items():
            say(f"  {connections} at a time")

            def rate(side: Server, connections: int = connections) -> float:
                if side is scim:
                    roles = [{"value": role} for role in ROLES]
                    requests = side.creations(uuid.uuid4().hex, roles=roles)
                    return side.send(requests, connections, OPTIONS.seconds).rate
                run = load.send(
                    side.address,
                    _by_hand(side),
                    connections=connections,
                    seconds=OPTIONS.seconds,
                )
                return run.rate / CALLS

            found = in_turns([scim, admin], rate)
            ratio = found[scim] / found[admin]
            if ratio < aim:
                table.missed.append(f"{connections} at a time: {ratio:.2f}, the aim is {aim}")
            table.rows.append(
                (
                    "1 connection" if connections == 1 else f"{connections} connections",
                    f"{found[scim]:,.0f}",
                    f"{found[admin]:,.0f}",
                    judged(f"{ratio:.2f}", ratio >= aim),
                    f">= {aim}",
                )
            )
    return [table]


def _by_hand(admin: Server) -> Iterator[bytes]:
    while True:
        people = [str(uuid.uuid4()) for _ in range(_WAVE)]
        for person in people:
            body = {"id": person, "username": f"{person}@bench.example", "custom_id": person}
            yield admin.request("POST", "/consumers", body)
        for person, role in itertools.product(people, ROLES):
            yield admin.request("POST", f"/consumers/{person}/acls", {"group": role})
