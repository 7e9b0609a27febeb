"""Whether an operation costs the same in a small directory and in a large one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.options import OPTIONS
from bench.servers import sandbox
from bench.timing import Ratio, compare
from bench.workloads import Server

FEW, MANY = 100, 50_000
SMALL, LARGE = 10, 10_000
AIM = 1.3


def measure(say: Callable[[str], None]) -> list[Ratio]:
    """Compare a look-up among few and many users, and a membership in a small and a large group."""
    count, large_group = OPTIONS.sized(MANY), OPTIONS.sized(LARGE)
    with (
        tempfile.TemporaryDirectory(prefix="kong-scim-bench-") as data,
        sandbox(Path(data) / "few") as few,
        sandbox(Path(data) / "many") as many,
    ):
        few.import_users("user", FEW)
        say(f"  importing {count} users")
        many.import_users("user", count)
        ratios = [
            compare(
                f"userName eq among {count:,}",
                lambda number: many.find(f"user{number * 997 % count}"),
                lambda number: few.find(f"user{number * 7 % FEW}"),
                against=f"among {FEW}",
                aim=AIM,
            )
        ]
        small = many.group("small", many.users[:SMALL])
        large = many.group("large", many.users[:large_group])
        ratios.append(
            compare(
                f"one member more in a group of {large_group:,}",
                lambda number: _in_and_out(many, large, large_group + number),
                lambda number: _in_and_out(many, small, large_group + 1000 + number),
                against=f"in a group of {SMALL}",
                aim=AIM,
            )
        )
        return ratios


def _in_and_out(server: Server, group: str, index: int) -> None:
    server.member(group, "add", server.users[index])
    server.member(group, "remove", server.users[index])
