"""The load generator: a closed loop over raw sockets, which takes little of the machine.

Each connection sends its next request when the answer to its last one is there. One thread serves
all connections: it parses no more of an answer than its status and where it ends.
"""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT = 300.0
_PIECE = 1 << 18


class UnexpectedAnswerError(Exception):
    """A request was not answered as the workload needs it."""


@dataclass(frozen=True)
class Answer:
    """An answer.

    :param number: The number of its request, from 0.
    :param seconds: From the first byte sent to the last one received.
    """

    number: int
    status: int
    body: bytes
    seconds: float

    def json(self) -> Any:
        """Return the body as JSON, or None for an empty one."""
        return json.loads(self.body) if self.body else None


@dataclass
class Run:
    """What a load came to."""

    seconds: float
    answers: list[Answer] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Return the answers a second."""
        return len(self.answers) / self.seconds

    def percentile(self, part: float) -> float:
        """Return the time in seconds that this part of the answers did not exceed."""
        times = sorted(answer.seconds for answer in self.answers)
        return times[min(len(times) - 1, int(part * len(times)))]


class _Connection:
    """A connection that is kept alive. It has one request under way at most."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self.ends = False
        self.socket = self._connected()
        self._received = bytearray()
        self._number = 0
        self._sent = 0.0

    def _connected(self) -> socket.socket:
        made = socket.create_connection(self._address, _TIMEOUT)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def renew(self) -> None:
        """Connect again. Nginx ends a connection after a thousand requests."""
        self.socket.close()
        self.socket, self.ends = self._connected(), False

    def send(self, number: int, request: bytes) -> None:
        self._number, self._sent = number, time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> Answer | None:
        """Receive what is there; return the answer if it is complete."""
        piece = self.socket.recv(_PIECE)
        if not piece:
            raise UnexpectedAnswerError(
                f"{self._address} closed the connection after {bytes(self._received)!r}"
            )
        self._received += piece
        head_end = self._received.find(b"\r\n\r\n") + 4
        if head_end < 4:
            return None
        head = bytes(self._received[:head_end]).lower()
        status = int(head[9:12])
        body = self._body(head, head_end) if status != 204 else b""
        if body is None:
            return None
        self._received.clear()
        self.ends = b"\r\nconnection: close" in head
        return Answer(self._number, status, body, time.perf_counter() - self._sent)

    def _body(self, head: bytes, start: int) -> bytes | None:
        """Return the body, or None until it is complete."""
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            length = int(head[at + 17 : head.index(b"\r\n", at + 17)])
            missing = start + length - len(self._received)
            return bytes(self._received[start:]) if missing <= 0 else None
        # Chunked. Nobody here has an empty line in a body of JSON.
        if not self._received.endswith(b"0\r\n\r\n"):
            return None
        return _unchunked(bytes(self._received[start:]))


def _unchunked(octets: bytes) -> bytes:
    body = b""
    while octets:
        size, _, rest = octets.partition(b"\r\n")
        body, octets = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def send(
    address: tuple[str, int],
    requests: Iterable[bytes],
    *,
    connections: int = 1,
    seconds: float | None = None,
    expect: frozenset[int] = frozenset({200, 201, 204}),
) -> Run:
    """Send requests until there are no more, or the time is over, and wait for all answers.

    :raises UnexpectedAnswerError: For an answer with another status than expected.
    """
    pending = enumerate(requests)
    first = list(itertools.islice(pending, connections))
    with selectors.DefaultSelector() as selector:
        opened = [_Connection(address) for _ in first]
        try:
            started = time.perf_counter()
            for connection, (number, request) in zip(opened, first, strict=True):
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                connection.send(number, request)
            answers = _answers(selector, len(opened), pending, seconds, expect)
            return Run(time.perf_counter() - started, answers)
        finally:
            for connection in opened:
                connection.socket.close()


def _answers(
    selector: selectors.BaseSelector,
    busy: int,
    pending: Iterator[tuple[int, bytes]],
    seconds: float | None,
    expect: frozenset[int],
) -> list[Answer]:
    answers: list[Answer] = []
    deadline = None if seconds is None else time.perf_counter() + seconds
    while busy:
        ready = selector.select(_TIMEOUT)
        if not ready:
            raise UnexpectedAnswerError(f"no answer within {_TIMEOUT:g} s")
        for key, _ in ready:
            connection: _Connection = key.data
            answer = connection.receive()
            if answer is None:
                continue
            if answer.status not in expect:
                raise UnexpectedAnswerError(f"{answer.status}: {answer.body[:1000]!r}")
            answers.append(answer)
            is_over = deadline is not None and time.perf_counter() > deadline
            following = None if is_over else next(pending, None)
            if following is None:
                busy -= 1
                selector.unregister(connection.socket)
                continue
            if connection.ends:
                selector.unregister(connection.socket)
                connection.renew()
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(*following)
    return answers


def address_of(url: str) -> tuple[str, int]:
    """Return the host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80
