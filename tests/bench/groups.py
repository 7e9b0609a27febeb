"""How long a large group takes, and how long another request waits meanwhile."""

from __future__ import annotations

import contextlib
import functools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import servers
from bench.options import OPTIONS
from bench.results import Table, judged
from bench.workloads import Server

MEMBERS = 10_000
LARGEST_BODY = 8 * 1024 * 1024
AIM = 3.0
_PAUSE = 0.02


def measure(say: Callable[[str], None]) -> list[Table]:
    """Create, rename and delete a large group, and replace all its members."""
    members = OPTIONS.sized(MEMBERS)
    table = Table(
        "groups",
        f"A group of {members:,}",
        ("", "", "seconds", "aim", "longest wait of another request (ms)"),
    )
    with (
        tempfile.TemporaryDirectory(prefix="kong-scim-bench-") as data,
        servers.sandbox(Path(data), max_body_size=LARGEST_BODY) as side,
    ):
        _measure(side, members, table, say)
    for name in ("kong-postgres", "kong-dbless") if servers.has_kong() else ():
        with servers.gateway(name, nodes=1, max_body_size=LARGEST_BODY) as (side, _):
            _measure(side, members, table, say)
    return [table]


def _measure(side: Server, members: int, table: Table, say: Callable[[str], None]) -> None:
    say(f"  {side.name}: importing {2 * members:,} users")
    side.import_users("user", 2 * members)
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(OPTIONS.rounds):
        say(f"  {side.name}: round {number + 1}")
        for name, times in _round(side, number, members).items():
            found.setdefault(name, []).append(times)
    for name, times in found.items():
        seconds = statistics.median(each for each, _ in times)
        waited = max(each for _, each in times)
        if seconds > AIM:
            table.missed.append(f"{side.name}, {name}: {seconds:.1f} s, the aim is {AIM:g} s")
        shown = judged(f"{seconds:.2f}", seconds <= AIM)
        table.rows.append((side.name, name, shown, f"<= {AIM:g}", f"{waited * 1000:,.0f}"))


def _round(side: Server, number: int, members: int) -> dict[str, tuple[float, float]]:
    """Return the seconds that each change of one group takes, and the longest wait meanwhile."""
    first, second = side.users[:members], side.users[members : 2 * members]
    made: list[str] = []
    times = {"created": _timed(side, lambda: made.append(side.group(f"large{number}", first)))}
    (group,) = made
    listed = [{"value": member} for member in second]
    requests = {
        "renamed": _replacing(side, group, displayName=f"renamed{number}"),
        "all members replaced": _replacing(side, group, members=listed),
        "deleted": side.request("DELETE", f"/Groups/{group}"),
    }
    for name, request in requests.items():
        times[name] = _timed(side, functools.partial(side.ask, request))
    return times


def _replacing(side: Server, group: str, **values: object) -> bytes:
    return side.group_patch(group, {"op": "replace", "value": values})


def _timed(side: Server, work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that something takes, and the longest time that a reader waited."""
    with reading(side) as times:
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
    return seconds, max(times)


@contextlib.contextmanager
def reading(side: Server) -> Iterator[list[float]]:
    """Read a user again and again in another thread; yield the times, complete after the block."""
    ended, times = threading.Event(), []

    def requests() -> Iterator[bytes]:
        yield side.reading(side.users[0])
        while not ended.wait(_PAUSE):
            yield side.reading(side.users[0])

    def read() -> None:
        times.extend(answer.seconds for answer in side.send(requests()).answers)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield times
    finally:
        ended.set()
        thread.join()
