"""Sends hostile requests to a sandbox and holds what must be so whatever they are."""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from requests_of import Hostile, hostile

import outbox
from hosts import Gateway, running_gateway
from scim_traffic import answered, new_group, new_user, user_body

SENDERS = 4
HANG = 2.0
"""Seconds within which every request must be answered."""

WARM = 0.3
"""The share of a storm after which memory must not grow any more; caches fill before."""

GROWTH = 1.05


@dataclass
class Report:
    """What came of a storm."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Kong's ids of the requests that were answered with an error."""
    slowest: float = 0.0
    warm: int = 0
    rss: int = 0
    """Bytes of the plugin server when it was warm, and at the end."""
    events: int = 0
    seconds: float = 0.0

    def text(self) -> str:
        """Return it for people."""
        by_status = " ".join(f"{status}:{n}" for status, n in sorted(self.statuses.items()))
        return (
            f"{sum(self.statuses.values())} requests in {self.seconds:.0f} s; {by_status}; slowest "
            f"{self.slowest:.2f} s; memory {self.warm / 2**20:.1f} -> {self.rss / 2**20:.1f} MiB; "
            f"{self.events} events; {len(self.failures)} failures"
        )


class Storm:
    """A storm on one gateway.

    :param count: How many requests.
    :param seconds: After how many it ends if the count was not reached; None for never.
    """

    def __init__(self, gateway: Gateway, *, seed: int, count: int, seconds: float | None) -> None:
        self._gateway = gateway
        self._count = count
        self._deadline = time.monotonic() + seconds if seconds else float("inf")
        self._seconds = seconds
        self._lock = threading.Lock()
        self._sent = 0
        self.report = Report()
        users = [new_user(gateway.scim)["id"] for _ in range(60)]
        targets = [*users, *(new_group(gateway.scim, *users[:3])["id"] for _ in range(30))]
        url = urlsplit(gateway.scim_base)
        self._address = (str(url.hostname), int(url.port or 80))
        self._requests = hostile(seed, url.path.encode(), targets)

    def rage(self) -> Report:
        """Send all, and return what came of it."""
        started = time.monotonic()
        threads = [threading.Thread(target=self._send_all) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.report.seconds = time.monotonic() - started
        self.report.rss = self._memory()
        self._hold_events()
        answered(self._gateway.scim.post("/Users", json=user_body()), 201)
        return self.report

    def _next(self) -> Hostile | None:
        with self._lock:
            now = time.monotonic()
            if self._sent >= self._count or now > self._deadline:
                return None
            self._sent += 1
            by_time = 1 - (self._deadline - now) / self._seconds if self._seconds else 0.0
            if not self.report.warm and max(self._sent / self._count, by_time) >= WARM:
                self.report.warm = self._memory()
            return next(self._requests)

    def _send_all(self) -> None:
        connection: socket.socket | None = None
        while (request := self._next()) is not None:
            started = time.monotonic()
            try:
                if connection is None:
                    connection = socket.create_connection(self._address, HANG * 5)
                status, request_id, kept = self._exchange(connection, request)
            except OSError as error:
                status, request_id, kept = 0, "", False
                self._fail(request, f"{type(error).__name__}: {error}")
            took = time.monotonic() - started
            if not kept and connection is not None:
                connection.close()
                connection = None
            with self._lock:
                self.report.statuses[status] += 1
                self.report.slowest = max(self.report.slowest, took)
                if status >= 400:
                    self.report.refused.add(request_id)
            if took > HANG:
                self._fail(request, f"took {took:.1f} s")
            if status >= 500 and status != 501:
                self._fail(request, f"answered {status}")

    def _exchange(self, connection: socket.socket, request: Hostile) -> tuple[int, str, bool]:
        head = b"\r\n".join(
            [
                request.method + b" " + request.target + b" HTTP/1.1",
                b"Host: gw.example",
                b"Authorization: Bearer " + self._gateway.token.encode(),
                *request.headers,
                b"Content-Length: %d" % len(request.body),
            ]
        )
        connection.sendall(head + b"\r\n\r\n" + request.body)
        with connection.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            headers = dict(self._headers(answer))
            length = 0 if request.method == b"HEAD" else int(headers.get("content-length", "0"))
            answer.read(length)
        kept = headers.get("connection", "keep-alive").lower() != "close"
        return status, headers.get("x-kong-request-id", ""), kept

    @staticmethod
    def _headers(answer: socket.SocketIO) -> Iterator[tuple[str, str]]:  # type: ignore[type-arg]
        while (line := answer.readline()) not in {b"\r\n", b"\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            yield name.strip().lower(), value.strip()

    def _hold_events(self) -> None:
        """Every write left an event with its request's id: none may be of one that was refused."""
        for event in outbox.events(self._gateway):
            self.report.events += 1
            if event.get("requestId") in self.report.refused:
                self.report.failures.append(f"refused, and yet written: {json.dumps(event)}")

    def _fail(self, request: Hostile, what: str) -> None:
        with self._lock:
            if len(self.report.failures) < 50:
                self.report.failures.append(f"{what}: {request}")

    def _memory(self) -> int:
        memory: int = self._gateway.host.plugin_server().memory_info().rss
        return memory


def hold(report: Report, *, memory: bool) -> None:
    """Fail for what must not be.

    :param memory: Whether it was long enough for the caches to be full, so that memory counts.
    """
    assert report.failures == []
    assert report.events > 0, "nothing was ever written: the storm is too tame"
    assert not memory or report.rss <= report.warm * GROWTH, report.text()


def main() -> None:
    """``make fuzz``."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with running_gateway("sandbox") as gateway:
        storm = Storm(gateway, seed=options.seed, count=options.count, seconds=None)
        report = storm.rage()
    print(report.text())
    for failure in report.failures:
        print(failure[:2000])
    hold(report, memory=True)


if __name__ == "__main__":
    main()
