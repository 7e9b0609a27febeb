"""Sends hostile requests to a sandbox and holds what must be so whatever they are."""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from control import Control
from requests_of import Hostile, hostile
from siege import MOST, Siege

import outbox
from hosts import Gateway, running_gateway
from scim_traffic import answered, new_group, new_user, user_body

SENDERS = 4
HANG = 2.0
"""Seconds within which every request must be answered, on a machine that has a processor for it:
see :class:`control.Control`."""

GIVEN_UP = 60.0
"""Seconds after which nobody waits any more."""

WARM = 0.3
"""The share of a storm after which memory must not grow any more; caches fill before."""

GROWTH = 1.05
"""Of memory from there to the end of ``make fuzz``."""

SLICE_GROWTH = 40 * 2**20
"""In bytes, from there to the end of a slice, which ends while caches still fill: they take some 15
MiB in it, and requests that left 10 KiB each would take 60."""


@dataclass(frozen=True)
class Held:
    """What the plugin server holds.

    :param memory: Resident, in bytes.
    """

    memory: int
    threads: int
    descriptors: int
    events: int
    queued: int
    instances: int


@dataclass
class Report:
    """What came of a storm."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Kong's ids of the requests that were answered with an error."""
    slowest: float = 0.0
    stretch: float = 1.0
    """How much slower the machine was than it is with nothing else to do."""
    warm: Held | None = None
    end: Held | None = None
    """The plugin server when it was warm, and when all was over."""
    events: int = 0
    seconds: float = 0.0

    def text(self) -> str:
        """Return it for people."""
        by_status = " ".join(f"{status}:{n}" for status, n in sorted(self.statuses.items()))
        warm, end = (each.memory / 2**20 if each else 0.0 for each in (self.warm, self.end))
        return (
            f"{sum(self.statuses.values())} requests in {self.seconds:.0f} s; {by_status}; slowest "
            f"{self.slowest:.2f} s, machine {self.stretch:.1f} times slower than alone; "
            f"memory {warm:.1f} -> {end:.1f} MiB; {self.events} events; "
            f"{len(self.failures)} failures"
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
        self._is_warm = threading.Event()
        self._sent = 0
        self.report = Report()
        users = [new_user(gateway.scim)["id"] for _ in range(60)]
        targets = [*users, *(new_group(gateway.scim, *users[:3])["id"] for _ in range(30))]
        url = urlsplit(gateway.scim_base)
        self._address = (str(url.hostname), int(url.port or 80))
        self._requests = hostile(seed, url.path.encode(), targets)
        self._control = Control()

    def rage(self) -> Report:
        """Send all, and return what came of it."""
        started = time.monotonic()
        threads = [threading.Thread(target=self._send_all) for _ in range(SENDERS)]
        with self._control:
            for thread in threads:
                thread.start()
            self._is_warm.wait()
            self.report.warm = self._held()
            for thread in threads:
                thread.join()
        self.report.seconds = time.monotonic() - started
        self.report.stretch = self._control.stretch(started)
        self.report.end = self._held()
        self._hold_events()
        answered(self._gateway.scim.post("/Users", json=user_body()), 201)
        return self.report

    def _next(self) -> Hostile | None:
        with self._lock:
            now = time.monotonic()
            by_time = 1 - (self._deadline - now) / self._seconds if self._seconds else 0.0
            if max(self._sent / self._count, by_time) >= WARM:
                self._is_warm.set()
            if self._sent >= self._count or now > self._deadline:
                return None
            self._sent += 1
            return next(self._requests)

    def _send_all(self) -> None:
        connection: socket.socket | None = None
        while (request := self._next()) is not None:
            started = time.monotonic()
            try:
                if connection is None:
                    connection = socket.create_connection(self._address, GIVEN_UP)
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
            if took > HANG and took > (allowed := HANG * self._control.stretch(started)):
                self._fail(request, f"took {took:.1f} s where {allowed:.1f} are allowed")
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
            first = answer.readline().split()
            if len(first) < 2:
                raise ConnectionError(f"closed in place of an answer: {first}")
            status = int(first[1])
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

    def _held(self) -> Held:
        process = self._gateway.host.plugin_server()
        command = process.cmdline()
        status = subprocess.run(
            [*command[: command.index("--socket") + 2], "--check"], capture_output=True, check=True
        )
        found = json.loads(status.stdout)
        (plugin,) = found["Plugins"].values()
        return Held(
            memory=process.memory_info().rss,
            threads=process.num_threads(),
            descriptors=process.num_fds(),
            events=found["Events"],
            queued=found["Queued"],
            instances=len(plugin["Instances"]),
        )


def hold(report: Report, *, whole: bool) -> None:
    """Fail for what must not be.

    :param whole: Whether it was long enough for the caches to be full when it was warm.
    """
    assert report.failures == []
    assert report.events > 0, "nothing was ever written: the storm is too tame"
    warm, end = report.warm, report.end
    assert warm is not None
    assert end is not None
    most = warm.memory * GROWTH if whole else warm.memory + SLICE_GROWTH
    assert end.memory <= most, report.text()
    # The tick may be under way. Each request that runs has a connection, and that a thread.
    assert end.events <= 1, "events that nobody ends"
    assert end.queued == 0
    assert end.instances == warm.instances
    assert end.threads <= warm.threads + SENDERS
    assert end.descriptors <= warm.descriptors + SENDERS


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
    hold(report, whole=True)
    for name in ("sandbox", "sandbox-off"):
        besiege(name)


def besiege(name: str) -> None:
    """Have one tenant of a gateway send what costs most while the other deactivates people.

    The time that is allowed is that of a machine with nothing else to do.
    """
    with running_gateway(name) as gateway:
        siege = Siege(gateway, people=300, others=1500)
        began = time.monotonic()
        with Control() as control:
            besieged = siege.lay(60)
            stretch = control.stretch(began)
    print(f"{name}: {besieged.text()}; machine {stretch:.1f} times slower than alone")
    assert besieged.failures == []
    assert besieged.percentile(0.99) <= MOST * stretch, besieged.text()


if __name__ == "__main__":
    main()
