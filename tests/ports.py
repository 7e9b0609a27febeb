"""Ports on loopback that nobody listens on."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator

SHARE = 1024
FIRST, LAST = 16384, 32767
"""Below those that an outgoing connection is given by itself (Linux: 32768 and above)."""


def free_port() -> int:
    """Return one."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return that many, each another.

    Who asks may take its time to listen there: each worker of pytest has a share of its own, and
    gives none of it twice before it gave all.
    """
    return list(itertools.islice(_unused, count))


def _all_unused() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = FIRST + worker * SHARE % (LAST + 1 - FIRST)
    # Not from its beginning: another run of the tests may be under way.
    first = os.getpid() % SHARE
    for number in itertools.count(first):
        port = share + number % SHARE
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        yield port


_unused = _all_unused()
