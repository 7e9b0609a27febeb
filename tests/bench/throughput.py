"""The throughput of this project beside that of SCIM servers that stand alone.

The peers are one process, keep everything in memory and write no gateway.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import servers
from bench.options import OPTIONS
from bench.results import Bars, Table, judged
from bench.timing import in_turns
from bench.workloads import IMPORTERS, Server

STORED = 3000
MEMBERS = 1000
PAGE = 100
CONNECTIONS = (1, 8)

PEERS = ("scim2-server", "SCIMMY")
AIMED = ("sandbox", "kong-postgres")
"""The sides for which the aims hold."""

NAMES = {"kong-postgres": "Kong + PostgreSQL", "kong-dbless": "DB-less Kong"}


@dataclass(frozen=True)
class Row:
    """A row of the table.

    :param measure: Returns the requests a second of a server.
    :param milliseconds: Whether the table shows the time of one request instead.
    :param of_scimmy: The least part of SCIMMY's throughput that is as it should be.
    """

    name: str
    measure: Callable[[Server], float]
    of_scimmy: float = 0.5
    milliseconds: bool = False

    def shown(self, rate: float) -> str:
        """Return a throughput as the table shows it."""
        return f"{1000 / rate:,.1f} ms" if self.milliseconds else f"{rate:,.0f}"


def measure(say: Callable[[str], None]) -> list[Table]:
    """Compare what identity providers do, at one connection and at several."""
    with contextlib.ExitStack() as stack:
        sides = _sides(stack, say)
        groups: dict[Server, str] = {}
        imports = itertools.count()
        stored, members = OPTIONS.sized(STORED), OPTIONS.sized(MEMBERS)

        def importing(side: Server) -> float:
            return side.import_users(f"import{next(imports)}-", stored).rate

        say(f"  import of {stored:,} at {IMPORTERS} connections")
        found = {"import": in_turns(sides, importing)}
        for side in sides:
            groups[side] = side.group("bench", side.users[:members])
        rows = _rows(groups, members, stored)
        for row in rows:
            say(f"  {row.name}")
            found[row.name] = in_turns(sides, row.measure)
        import_row = Row(f"import of {stored:,}, {IMPORTERS} connections", importing, 1.0)
        found[import_row.name] = found.pop("import")
        rows.insert(len(CONNECTIONS) * 4, import_row)
        return [_rates(sides, rows, found), _ratios(sides, rows, found)]


def _sides(stack: contextlib.ExitStack, say: Callable[[str], None]) -> list[Server]:
    data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kong-scim-bench-")))
    sides = [stack.enter_context(servers.scim2_server())]
    try:
        sides.append(stack.enter_context(servers.scimmy()))
    except servers.MissingPeerError as error:
        say(f"  SCIMMY: skipped, {error}")
    sides.append(stack.enter_context(servers.sandbox(data)))
    if servers.has_kong():
        for name in NAMES:
            sides.append(stack.enter_context(servers.gateway(name, nodes=1))[0])
    else:
        say("  A real Kong: skipped, KONG_SCIM_KONG does not name its binary")
    return sides


def _rows(groups: dict[Server, str], members: int, stored: int) -> list[Row]:
    chance = random.Random(1)
    names = itertools.count()

    def some_user(side: Server) -> Iterator[str]:
        return iter(lambda: side.users[chance.randrange(stored)], "")

    def creating(side: Server) -> Iterator[bytes]:
        return side.creations(f"post{next(names)}-")

    def reading(side: Server) -> Iterator[bytes]:
        return map(side.reading, some_user(side))

    def finding(side: Server) -> Iterator[bytes]:
        first = side.ask(side.reading(side.users[0]))["userName"].partition("-")[0]
        return (side.finding(f"{first}-{chance.randrange(stored)}") for _ in itertools.count())

    def changing(side: Server) -> Iterator[bytes]:
        """Yield pairs of a member in and the same one out, for members of nobody else."""
        for user in side.users[members : members + stored]:
            yield side.adding(groups[side], [user])
            yield side.removing(groups[side], user)

    several = [
        ("POST /Users", creating, 0.5),
        ("GET /Users/{id}", reading, 0.5),
        ("userName eq", finding, 0.5),
        (f"PATCH one member in, one out of {members:,}", changing, 1.0),
    ]
    rows = [
        Row(f"{name}, {_connections(count)}", _rate_of(requests, count), of_scimmy)
        for name, requests, of_scimmy in several
        for count in CONNECTIONS
    ]
    page = f"/Users?startIndex={stored // 2 + 1}&count={PAGE}"
    singles = [
        (f"group of {members:,} created", lambda side: _group_creations(side, members), 0.5),
        ("GET of that group", lambda side: _repeated(side, f"/Groups/{groups[side]}"), 0.5),
        (f"page of {PAGE} in the middle", lambda side: _repeated(side, page), 1.0),
    ]
    rows += [
        Row(name, _rate_of(requests, 1), of_scimmy, milliseconds=True)
        for name, requests, of_scimmy in singles
    ]
    return rows


def _group_creations(side: Server, members: int) -> Iterator[bytes]:
    for number in itertools.count():
        yield side.group_creation(f"group{number}-{time.monotonic_ns()}", side.users[:members])


def _repeated(side: Server, path: str) -> Iterator[bytes]:
    return itertools.repeat(side.request("GET", path))


def _rate_of(
    requests: Callable[[Server], Iterator[bytes]], connections: int
) -> Callable[[Server], float]:
    def rate(side: Server) -> float:
        return side.send(requests(side), connections, OPTIONS.seconds).rate

    return rate


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


def _rates(
    sides: Sequence[Server], rows: Sequence[Row], found: dict[str, dict[Server, float]]
) -> Table:
    headings = ("", *(NAMES.get(side.name, side.name) for side in sides))
    table = Table("throughput", "Requests a second beside servers that stand alone", headings)
    for row in rows:
        rates = found[row.name]
        table.rows.append((row.name, *(row.shown(rates[side]) for side in sides)))
    return table


def _ratios(
    sides: Sequence[Server], rows: Sequence[Row], found: dict[str, dict[Server, float]]
) -> Table:
    pairs = [
        (side, peer)
        for peer in sides
        if peer.name in PEERS
        for side in sides
        if side.name not in PEERS
    ]
    names = [f"{NAMES.get(side.name, side.name)} / {peer.name}" for side, peer in pairs]
    table = Table(
        "throughput-ratios",
        "Throughput as a ratio to theirs (aim: 1.0 of scim2-server's; SCIMMY's as named)",
        ("", *names, "aim of SCIMMY"),
    )
    series: dict[str, list[float | None]] = {name: [] for name in names}
    for row in rows:
        rates, cells = found[row.name], []
        for name, (side, peer) in zip(names, pairs, strict=True):
            ratio = rates[side] / rates[peer]
            aim = 1.0 if peer.name == PEERS[0] else row.of_scimmy
            holds = ratio >= aim if side.name in AIMED else None
            if holds is False:
                table.missed.append(f"{row.name}, {name}: {ratio:.2f}, the aim is {aim}")
            cells.append(judged(f"{ratio:.2f}", holds))
            series[name].append(ratio)
        table.rows.append((row.name, *cells, f"{row.of_scimmy}"))
    labels = [row.name for row in rows]
    for peer in dict.fromkeys(peer.name for _, peer in pairs):
        of_peer = {n.partition(" / ")[0]: v for n, v in series.items() if n.endswith(f"/ {peer}")}
        table.plots.append(Bars(f"throughput-{peer}", f"Throughput / {peer}'s", labels, of_peer))
    return table
