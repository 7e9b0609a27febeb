"""How much the load generator can do alone, so that nobody takes it for the thing measured."""

from __future__ import annotations

import itertools
import multiprocessing
import selectors
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from bench import load
from bench.options import OPTIONS
from bench.results import Table
from bench.timing import in_turns
from bench.workloads import Server

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n" + b" " * 400


def measure(say: Callable[[str], None]) -> list[Table]:
    """Send requests to a server that does nothing but answer."""
    table = Table(
        "generator",
        "The load generator alone",
        ("", "requests a second", "its own CPU for each (µs)"),
    )
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    serving = context.Process(target=_serve, args=(theirs,), daemon=True)
    serving.start()
    side = Server(f"http://127.0.0.1:{ours.recv()}/v2")
    costs: dict[int, list[float]] = {}

    def rate(connections: int) -> float:
        started = time.process_time()
        requests = itertools.repeat(side.reading("none"))
        run = load.send(side.address, requests, connections=connections, seconds=OPTIONS.seconds)
        spent = (time.process_time() - started) / len(run.answers)
        costs.setdefault(connections, []).append(spent)
        return run.rate

    for connections, found in in_turns([1, 8], rate).items():
        cost = sorted(costs[connections])[len(costs[connections]) // 2]
        name = f"{connections} connection{'s' if connections > 1 else ''}"
        table.rows.append((name, f"{found:,.0f}", f"{cost * 1e6:.0f}"))
    serving.terminate()
    return [table]


def _serve(port: Connection) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port.send(listening.getsockname()[1])
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is listening:
                    selector.register(listening.accept()[0], selectors.EVENT_READ)
                elif ready.recv(65536):
                    ready.sendall(_ANSWER)
                else:
                    selector.unregister(ready)
                    ready.close()
