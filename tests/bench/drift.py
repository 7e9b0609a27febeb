"""What a search for drift over many people costs, and whether requests are slower beside it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from bench import load, servers
from bench.cpu import spent
from bench.options import OPTIONS
from bench.results import Table, judged
from bench.seeding import Seeds
from bench.timing import in_turns
from bench.workloads import Server
from hosts import Gateway, eventually

PEOPLE = 50_000
CPU = 60.0
"""Seconds of CPU that a pass over so many people may take."""

SLOWER = 1.05
"""How much longer a request may take beside it, on average."""

LONGEST = 1800.0
"""Seconds after which a pass must be complete."""


def measure(say: Callable[[str], None]) -> list[Table]:
    """Measure a pass over all people of a gateway, beside another gateway that runs none."""
    if not servers.has_kong():
        say("  A real Kong: skipped, KONG_SCIM_KONG does not name its binary")
        return []
    people = OPTIONS.sized(PEOPLE)
    with (
        servers.gateway("kong-postgres", nodes=1, reconcile={"every": 1}) as (with_passes, one),
        servers.gateway("kong-postgres", nodes=1) as (without, other),
    ):
        for side, gateway in ((with_passes, one), (without, other)):
            say(f"  making {people:,} people")
            seeds = Seeds(side, gateway.host.postgres)
            seeds.make(people)
            side.users.append(seeds.id_of(1))
        return [_cost(with_passes, without, one, people, say), _beside(with_passes, without, one)]


def _cost(
    side: Server, without: Server, gateway: Gateway, people: int, say: Callable[[str], None]
) -> Table:
    _begin_again(gateway)
    began, before, idle_before = time.monotonic(), spent(side), spent(without)
    eventually(lambda: bool(_row(gateway, _COMPLETE)), "a pass", seconds=LONGEST)
    differences = gateway.scim.get("/Drift").raise_for_status().json()["pass"]
    say(f"  {differences}")
    seconds, after, idle_after = time.monotonic() - began, spent(side), spent(without)
    cost = {
        part: after[part] - before[part] - idle_after[part] + idle_before[part] for part in after
    }
    say(f"  a pass took {seconds:.0f} s")
    table = Table(
        "drift",
        "A pass over all people in agreement",
        ("people", "plugin server (s of CPU)", "gateway (s of CPU)", "aim of both", "took (s)"),
    )
    aim = CPU * people / PEOPLE
    total = sum(cost.values())
    if total > aim:
        table.missed.append(f"a pass takes {total:.1f} s of CPU, the aim is {aim:g}")
    table.rows.append(
        (
            f"{people:,}",
            judged(f"{cost['plugin server']:.1f}", total <= aim),
            f"{cost['gateway']:.1f}",
            f"<= {aim:g}",
            f"{seconds:.0f}",
        )
    )
    return table


def _beside(side: Server, without: Server, gateway: Gateway) -> Table:
    headings = ("request", "beside a pass (ms)", "without (ms)", "factor", "aim")
    table = Table("drift-beside", "Requests beside a pass", headings)
    for name, requests in _kinds().items():
        _begin_again(gateway)

        def mean(each: Server, requests: Callable[[Server], Iterator[bytes]] = requests) -> float:
            done = load.send(each.address, requests(each), seconds=OPTIONS.seconds)
            return done.seconds / len(done.answers)

        found = in_turns((side, without), mean)
        factor = found[side] / found[without]
        if factor > SLOWER:
            table.missed.append(f"{name}: {factor:.2f}, the aim is {SLOWER}")
        cells = (f"{found[each] * 1000:.2f}" for each in (side, without))
        table.rows.append((name, *cells, judged(f"{factor:.2f}", factor <= SLOWER), f"<= {SLOWER}"))
    return table


def _kinds() -> dict[str, Callable[[Server], Iterator[bytes]]]:
    return {
        "GET /Users/{id}": lambda side: itertools.repeat(side.reading(side.users[-1])),
        "PATCH of a user": lambda side: (
            side.user_patch(side.users[-1], title=f"t{number}") for number in itertools.count()
        ),
    }


def _begin_again(gateway: Gateway) -> None:
    """Have a pass begin at once, and wait until it has."""
    _row(gateway, "DELETE FROM scim_drift_passes RETURNING begun")
    eventually(lambda: bool(_row(gateway, _RUNNING)), "a pass to begin", seconds=60)


def _row(gateway: Gateway, statement: str) -> list[Any]:
    with psycopg.connect(gateway.host.postgres.dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


_RUNNING = "SELECT 1 FROM scim_drift_passes WHERE begun <> ''"
_COMPLETE = "SELECT 1 FROM scim_drift_passes WHERE ended <> ''"
