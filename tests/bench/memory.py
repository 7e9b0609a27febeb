"""Whether a plugin server grows: its memory after many requests of all kinds."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import servers
from bench.options import OPTIONS
from bench.results import Table, judged
from bench.workloads import Server

FIRST = 10_000
THEN = 20_000
LONG = 100_000
CONNECTIONS = 8
STORED = 500
AIM = 1.05


def measure(say: Callable[[str], None]) -> list[Table]:
    """Compare the memory after many mixed requests with that after the first ones."""
    first = OPTIONS.sized(FIRST)
    then = OPTIONS.sized(LONG if OPTIONS.long else THEN)
    headings = (
        "",
        f"after {first:,} requests (MiB)",
        f"after {then:,} (MiB)",
        "factor",
        "aim",
    )
    table = Table("memory", "Memory of the plugin server", headings)
    with (
        tempfile.TemporaryDirectory(prefix="kong-scim-bench-") as data,
        servers.sandbox(Path(data)) as side,
    ):
        side.import_users("user", STORED)
        group = side.group("members", side.users[: STORED // 2])
        requests = _mixed(side, group)
        say(f"  {first:,} requests")
        side.send(itertools.islice(requests, first), CONNECTIONS)
        before = _memory(side)
        say(f"  {then:,} requests")
        side.send(itertools.islice(requests, then - first), CONNECTIONS)
        after = _memory(side)
    factor = after / before
    if factor > AIM:
        table.missed.append(f"the plugin server grew by a factor of {factor:.3f}")
    table.rows.append(
        (
            side.name,
            f"{before / 2**20:.1f}",
            f"{after / 2**20:.1f}",
            judged(f"{factor:.3f}", factor <= AIM),
            f"<= {AIM}",
        )
    )
    return [table]


def _mixed(side: Server, group: str) -> Iterator[bytes]:
    """Yield requests of all kinds. The directory stays about as large as it is."""
    chance = random.Random(1)
    kinds: list[Callable[[], bytes]] = [
        lambda: side.reading(chance.choice(side.users)),
        lambda: side.finding(f"user{chance.randrange(STORED)}"),
        lambda: side.search('displayName co "bench 1" and active eq true'),
        lambda: side.request("GET", f"/Users?startIndex={chance.randrange(STORED)}&count=20"),
        lambda: side.user_patch(chance.choice(side.users), title=f"t{chance.random()}"),
        lambda: side.adding(group, [chance.choice(side.users)]),
        lambda: side.removing(group, chance.choice(side.users)),
        lambda: side.request("GET", f"/Groups/{group}"),
        lambda: side.request("GET", "/Schemas"),
    ]
    while True:
        yield chance.choice(kinds)()


def _memory(side: Server) -> float:
    return sum(float(each.memory_info().rss) for each in side.processes()["plugin server"])
