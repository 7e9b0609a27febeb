"""The CPU time that a request costs, by process: process time over requests."""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import load, servers
from bench.options import OPTIONS
from bench.results import Table, judged
from bench.workloads import Server

STORED = 1000
REQUESTS = 2000
CONNECTIONS = 4

AIMS = {"GET /Users/{id}": 0.6, "userName eq": 0.6, "POST /Users": 1.0, "PATCH of one member": 1.0}
"""Milliseconds of the plugin server's CPU for each request."""


def measure(say: Callable[[str], None]) -> list[Table]:
    """Measure the CPU time of the plugin server and of the gateway for each request."""
    table = Table(
        "cpu",
        "Milliseconds of CPU for each request",
        ("", "request", "plugin server", "aim", "gateway", "requests a second"),
    )
    with (
        tempfile.TemporaryDirectory(prefix="kong-scim-bench-") as data,
        servers.sandbox(Path(data)) as side,
    ):
        _measure(side, table, say)
    for name in ("kong-postgres", "kong-dbless") if servers.has_kong() else ():
        with servers.gateway(name, nodes=1) as (side, _):
            _measure(side, table, say)
    return [table]


def _measure(side: Server, table: Table, say: Callable[[str], None]) -> None:
    say(f"  {side.name}")
    stored = OPTIONS.sized(STORED, 20)
    side.import_users("user", stored)
    group = side.group("cpu", side.users[: stored // 2])
    found: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(OPTIONS.rounds):
        for name, requests in _kinds(side, group, stored).items():
            found.setdefault(name, []).append(_cost(side, requests))
    for name, costs in found.items():
        plugin, gateway, rate = (statistics.median(column) for column in zip(*costs, strict=True))
        aim = AIMS.get(name)
        holds = aim is None or plugin <= aim
        if not holds:
            table.missed.append(f"{side.name}, {name}: {plugin:.2f} ms, the aim is {aim}")
        table.rows.append(
            (
                side.name,
                name,
                judged(f"{plugin:.2f}", holds),
                f"<= {aim}" if aim else "",
                f"{gateway:.2f}",
                f"{rate:,.0f}",
            )
        )


def _kinds(side: Server, group: str, stored: int) -> dict[str, Iterator[bytes]]:
    users = itertools.cycle(side.users[:stored])
    refused = side.request("GET", "/Users/none", token="not a token of anybody")

    def changes() -> Iterator[bytes]:
        for user in itertools.cycle(side.users[stored // 2 : stored]):
            yield side.adding(group, [user])
            yield side.removing(group, user)

    return {
        "refused token": itertools.repeat(refused),
        "GET /Users/{id}": (side.reading(next(users)) for _ in itertools.count()),
        "userName eq": (side.finding(f"user{n % stored}") for n in itertools.count()),
        "POST /Users": side.creations("cpu"),
        "PATCH of one member": changes(),
    }


def _cost(side: Server, requests: Iterator[bytes]) -> tuple[float, float, float]:
    """Return the milliseconds of the plugin server and the gateway, and the requests a second."""
    expect = frozenset({200, 201, 204, 401})
    count = OPTIONS.sized(REQUESTS, 20)
    some = itertools.islice(requests, count // 10)
    load.send(side.address, some, connections=CONNECTIONS, expect=expect)
    before = spent(side)
    run = load.send(
        side.address, itertools.islice(requests, count), connections=CONNECTIONS, expect=expect
    )
    after = spent(side)
    each = [(after[part] - before[part]) * 1000 / count for part in ("plugin server", "gateway")]
    return each[0], each[1], run.rate


def spent(side: Server) -> dict[str, float]:
    """Return the CPU seconds of the processes so far, by what they do."""
    return {
        part: sum(sum(process.cpu_times()[:2]) for process in processes)
        for part, processes in side.processes().items()
    }
