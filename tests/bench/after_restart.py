"""How long a DB-less Kong is without its rows after it loaded a configuration."""

from __future__ import annotations

import os
from collections.abc import Callable

from bench.timing import Ratio, timed
from bench.workloads import Server
from hosts import running_gateway

USERS = 10_000
GROUPS = ("readers", "writers")
TOGETHER = 250
"""Members of one PATCH."""


def measure(say: Callable[[str], None]) -> list[Ratio]:
    """Compare the application of all rows again with the import that made them."""
    dbless = bool(os.environ.get("KONG_SCIM_KONG"))
    with running_gateway("kong-dbless" if dbless else "sandbox-off") as gateway:
        scim = Server(gateway.scim_base, gateway.token)

        def fill() -> None:
            scim.import_users("user", USERS)
            for name in GROUPS:
                group = scim.group(name, [])
                for start in range(0, USERS, TOGETHER):
                    scim.ask(scim.adding(group, scim.users[start : start + TOGETHER]))

        say(f"  {gateway.name}: importing {USERS:,} users with {len(GROUPS)} groups each")
        imported = timed(fill)
        before = len(gateway.consumers())
        applied = timed(gateway.declare)
        assert len(gateway.consumers()) == before == USERS
        say(f"  {gateway.name}: {applied:.1f} s from POST /config until a write was made")
    name = f"apply {USERS:,} users with two groups again"
    return [Ratio(name, applied, imported, f"their import, {gateway.name}", 1)]
