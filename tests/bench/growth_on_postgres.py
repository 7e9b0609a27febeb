"""Whether an operation on a real Kong costs the same among few people and among a million."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Callable, Iterator

from bench import servers
from bench.options import OPTIONS
from bench.results import Curves, Table, judged
from bench.seeding import Seeds, name_of
from bench.workloads import Server

SIZES = (1_000, 10_000, 100_000)
LONG = (*SIZES, 1_000_000)
MEMBERS = 100_000
PAGE = 100
REQUESTS = 60
AIM = 1.5


def measure(say: Callable[[str], None]) -> list[Table]:
    """Measure what people do often, in a directory that is made larger."""
    if not servers.has_kong():
        say("  A real Kong: skipped, KONG_SCIM_KONG does not name its binary")
        return []
    sizes = [OPTIONS.sized(size) for size in (LONG if OPTIONS.long else SIZES)]
    found: dict[str, list[float]] = {}
    with servers.gateway("kong-postgres", nodes=1, ticks=False) as (server, running):
        seeds = Seeds(server, running.host.postgres)
        for size in sizes:
            say(f"  {size:,} people")
            seeds.make(size)
            group = server.group(f"all-{size}", [])
            seeds.join(group, min(size, MEMBERS))
            for name, requests in _kinds(server, seeds, group).items():
                found.setdefault(name, []).append(_median(server, requests))
    return [_table(sizes, found)]


def _kinds(server: Server, seeds: Seeds, group: str) -> dict[str, Iterator[bytes]]:
    chance = random.Random(1)

    def number() -> int:
        return chance.randint(1, seeds.count)

    def forever(request: Callable[[], bytes]) -> Iterator[bytes]:
        return (request() for _ in itertools.count())

    def email() -> bytes:
        return server.search(f'emails.value eq "{name_of(number())}@bench.example"')

    new = server.create(f"member-{seeds.count}")

    def changes() -> Iterator[bytes]:
        while True:
            yield server.adding(group, [new])
            yield server.removing(group, new)

    return {
        "GET /Users/{id}": forever(lambda: server.reading(seeds.id_of(number()))),
        "userName eq": forever(lambda: server.finding(name_of(number()))),
        "emails.value eq": forever(email),
        "POST /Users": server.creations(f"growth-{seeds.count}-"),
        "PATCH of one member": changes(),
        "page in the middle, by cursor": itertools.repeat(_middle(server, seeds.count)),
    }


def _middle(server: Server, people: int) -> bytes:
    """Return the request for a page in the middle, to which this walks."""
    count = min(PAGE, people // 4)
    cursor = ""
    for _ in range(people // 2 // count):
        # A cursor belongs to its search, so the pages on the way are as large.
        path = f"/Users?cursor={cursor}&count={count}"
        cursor = server.ask(server.request("GET", path))["nextCursor"]
    return server.request("GET", f"/Users?cursor={cursor}&count={count}")


def _median(server: Server, requests: Iterator[bytes]) -> float:
    """Return the median of the seconds that a request takes, in the middle one of some rounds."""
    count = OPTIONS.sized(REQUESTS, 6)
    server.send(itertools.islice(requests, count // 3))
    rounds = [
        statistics.median(
            answer.seconds for answer in server.send(itertools.islice(requests, count)).answers
        )
        for _ in range(OPTIONS.rounds)
    ]
    return statistics.median(rounds)


def _table(sizes: list[int], found: dict[str, list[float]]) -> Table:
    headings = ("milliseconds", *(f"{size:,} people" for size in sizes), "factor", "aim")
    table = Table("growth-postgres", "Growth on Kong with PostgreSQL", headings)
    for name, times in found.items():
        factor = times[-1] / times[0]
        if factor > AIM:
            table.missed.append(f"{name}: {factor:.2f}, the aim is {AIM}")
        cells = (f"{seconds * 1000:.2f}" for seconds in times)
        table.rows.append((name, *cells, judged(f"{factor:.2f}", factor <= AIM), f"<= {AIM}"))
    curves = {name: [seconds * 1000 for seconds in times] for name, times in found.items()}
    table.plots.append(
        Curves("growth", "Growth on Kong with PostgreSQL", "people", "milliseconds", sizes, curves)
    )
    return table
