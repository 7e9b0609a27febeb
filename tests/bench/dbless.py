"""A DB-less gateway: its import, and the time until it has its rows again after a load."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from bench import servers
from bench.options import OPTIONS
from bench.results import Table, judged
from bench.timing import timed
from bench.workloads import IMPORTERS, Server
from hosts import Gateway

PEOPLE = 10_000
LONG = 100_000
ONE_CONNECTION = 500
ROLES = [{"value": "reader"}, {"value": "writer"}]

IMPORT_AIM = 40.0
APPLY_AIM = 2.5
"""Both in seconds for each 10,000 people."""
FACTOR_AIM = 4.0


def measure(say: Callable[[str], None]) -> list[Table]:
    """Import people with two groups each, and apply them again."""
    people = OPTIONS.sized(PEOPLE)
    table = Table("dbless", "A DB-less gateway", ("", "", "value", "aim"))
    name = "kong-dbless" if servers.has_kong() else "sandbox-off"
    with servers.gateway(name) as (side, gateway):
        memory = _memory(side)
        say(f"  {name}: importing")
        count = OPTIONS.sized(ONE_CONNECTION)
        alone = side.import_users("alone", count, 1, roles=ROLES).rate
        run = side.import_users("user", people - count, roles=ROLES)
        seconds = people / run.rate
        aim = IMPORT_AIM * people / PEOPLE
        _add(table, name, f"import of {people:,} with two groups (s)", seconds, aim)
        factor = run.rate / alone
        _add(
            table,
            name,
            f"throughput of {IMPORTERS} connections / of one",
            factor,
            FACTOR_AIM,
            least=True,
        )
        say(f"  {name}: applying {people:,} again")
        _apply(table, side, gateway, people, memory)
        if OPTIONS.long:
            more = OPTIONS.sized(LONG)
            say(f"  {name}: importing {more:,}")
            side.import_users("more", more - people, roles=ROLES)
            _apply(table, side, gateway, more, memory)
    return [table]


def _apply(table: Table, side: Server, gateway: Gateway, people: int, memory: float) -> None:
    seconds = sorted(timed(gateway.declare) for _ in range(OPTIONS.rounds))[OPTIONS.rounds // 2]
    aim = APPLY_AIM * people / PEOPLE
    _add(table, side.name, f"{people:,} applied again (s)", seconds, aim)
    grown = (_memory(side) - memory) / people * 1000
    row = f"memory for each thousand people, of {people:,} (MiB)"
    table.rows.append((side.name, row, f"{grown / 2**20:.2f}", ""))


def _add(
    table: Table, name: str, row: str, value: float, aim: float, *, least: bool = False
) -> None:
    holds = value >= aim if least else value <= aim
    if not holds:
        table.missed.append(f"{name}, {row}: {value:.2f}, the aim is {aim:g}")
    sign = ">=" if least else "<="
    table.rows.append((name, row, judged(f"{value:.2f}", holds), f"{sign} {aim:g}"))


def _memory(side: Server) -> float:
    """Return the bytes of the gateway, with its share of what it maps with other processes."""
    return sum(_bytes(process) for process in side.processes()["gateway"])


def _bytes(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss)
