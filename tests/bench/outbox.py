"""Whether a write waits for what nobody takes: many deliveries pending for a dead target."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.options import OPTIONS
from bench.servers import sandbox
from bench.timing import Ratio, compare

PENDING = 10_000
FEW = 100
AIM = 1.05


def measure(say: Callable[[str], None]) -> list[Ratio]:
    """Compare a write beside many pending deliveries with one beside few."""
    pending = OPTIONS.sized(PENDING)
    with (
        tempfile.TemporaryDirectory(prefix="kong-scim-bench-") as directory,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        port = taken.getsockname()[1]
        taken.close()  # from now on nobody is there
        events = {
            "webhooks": [{"name": "dead", "url": f"http://127.0.0.1:{port}/", "secret": "s"}],
            "allow_http": True,
            "allow_hosts": ["127.0.0.1"],
        }
        with (
            sandbox(Path(directory) / "few", events=events) as few,
            sandbox(Path(directory) / "many", events=events) as many,
        ):
            few.import_users("user", FEW)
            say(f"  making {pending} events")
            many.import_users("user", pending)
            for server, count in ((few, FEW), (many, pending)):
                while server.events() < count:
                    time.sleep(0.5)
            return [
                compare(
                    f"PATCH of a user beside {pending:,} pending deliveries",
                    lambda number: many.retitle(many.users[number], f"t{number}"),
                    lambda number: few.retitle(few.users[number % FEW], f"t{number}"),
                    against=f"beside {FEW}",
                    aim=AIM,
                )
            ]
