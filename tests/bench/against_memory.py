"""The sandbox (HTTP, the RPC to the plugin server, SQLite) beside scim2-server's in-memory server.

The other side has no gateway, no second process and no disk: the factor is what those cost.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.servers import in_memory, sandbox
from bench.timing import Ratio, compare, timed
from bench.workloads import Server

IMPORT = 5000
MEMORY = "scim2-server in memory"


def measure(say: Callable[[str], None]) -> list[Ratio]:
    """Compare the operations an identity provider uses most, and an import."""
    with (
        tempfile.TemporaryDirectory(prefix="kong-scim-bench-") as data,
        sandbox(Path(data)) as ours,
        in_memory() as theirs,
    ):
        both = (ours, theirs)

        def pair(name: str, work: Callable[[Server, int], object]) -> Ratio:
            say(f"  {name}")
            return compare(
                name,
                lambda number: work(ours, number) and None,
                lambda number: work(theirs, number) and None,
                against=MEMORY,
            )

        ratios = [pair("POST a user", lambda server, number: server.create(f"post{number}"))]
        ratios.append(
            pair("GET a user by id", lambda server, number: server.read(server.users[number]))
        )
        ratios.append(
            pair("filter userName eq", lambda server, number: server.find(f"post{number}"))
        )
        groups = {server: server.group("bench", server.users[:10]) for server in both}
        ratios.append(
            pair(
                "PATCH a group, one member",
                lambda server, number: server.member(
                    groups[server], "add", server.users[10 + number % 200]
                ),
            )
        )
        say(f"  import of {IMPORT} users")
        seconds = [timed(partial(server.import_users, "import", IMPORT)) for server in both]
        ratios.append(Ratio(f"import {IMPORT} users", seconds[0], seconds[1], MEMORY, 1))
        return ratios
