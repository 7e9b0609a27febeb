"""A receiver of webhooks on loopback, as good or as bad as a test wants it."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG, HALF, CLOSE = "hang", "half", "close"
"""Answers that are none: never, half of one, and a closed connection."""

DRIP_HEAD, DRIP_BODY, DRIP_INTERIM = "drip head", "drip body", "drip interim"
"""Answers that come a byte at a time and never end: in the headers, in the body, and in one interim
answer (RFC 9110 §15.2) after the other."""

Answer = int | str | tuple[int, Mapping[str, str], str]


@dataclass
class Post:
    """One request, and what it was answered."""

    headers: Mapping[str, str]
    body: bytes
    answer: Answer

    @property
    def event(self) -> dict[str, Any]:
        """The event of a JSON webhook."""
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data

    @property
    def taken(self) -> bool:
        """Whether the answer says so."""
        status = self.answer[0] if isinstance(self.answer, tuple) else self.answer
        return isinstance(status, int) and 200 <= status < 300


@dataclass
class Receiver:
    """Notes what it gets, in the order in which it answered.

    :ivar behave: What a request with this body is answered.
    """

    url: str = ""
    behave: Callable[[bytes], Answer] = lambda _: 200
    posts: list[Post] = field(default_factory=list)
    connections: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def taken(self) -> list[Post]:
        """Return the requests that were taken."""
        with self.lock:
            return [post for post in self.posts if post.taken]


@contextlib.contextmanager
def receiver(
    answer: Answer = 200, tls: ssl.SSLContext | None = None, *, keep: bool = False
) -> Iterator[Receiver]:
    """Run a receiver until the end of the block.

    :param tls: Its certificate; None for plain HTTP.
    :param keep: Whether it keeps connections open after an answer.
    """
    made = Receiver(behave=lambda _: answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            with made.lock:
                made.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with made.lock:
                answer = made.behave(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                made.posts.append(Post(headers, body, answer))
            self.close_connection = not keep
            _reply(self, answer, made.stopped)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        made.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/hook"
        # A short interval: the server's end waits for it.
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield made
        finally:
            made.stopped.set()
            server.shutdown()


_DRIPS = {
    DRIP_HEAD: (b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"),
    DRIP_BODY: (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    DRIP_INTERIM: (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
}


def _drip(
    handler: BaseHTTPRequestHandler, drip: tuple[bytes, bytes], stopped: threading.Event
) -> None:
    start, rest = drip
    with contextlib.suppress(OSError):  # whoever waits may go
        handler.wfile.write(start)
        while not stopped.wait(0.05):
            handler.wfile.write(rest)


def _reply(handler: BaseHTTPRequestHandler, answer: Answer, stopped: threading.Event) -> None:
    if answer == HANG:
        stopped.wait()
        return
    if answer == CLOSE:
        handler.close_connection = True
        return
    if isinstance(answer, str) and answer in _DRIPS:
        _drip(handler, _DRIPS[answer], stopped)
        return
    status, headers, text = (200, {}, "x" * 100)
    if isinstance(answer, tuple):
        status, headers, text = answer[0], dict(answer[1]), answer[2]
    elif isinstance(answer, int):
        status = answer
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text[: 10 if answer == HALF else None].encode())


@contextlib.contextmanager
def raw_answer(*pieces: bytes, pause: float = 0.0) -> Iterator[str]:
    """Run a server that answers each connection with these octets, whatever they are.

    :param pause: Seconds before each piece.
    """

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # whoever asked may be gone
            connection.recv(65536)
            for piece in pieces:
                if pause and stopped.wait(pause):
                    return
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):  # or a reset might take the answer away
                pass

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
        finally:
            stopped.set()
            listening.shutdown(socket.SHUT_RDWR)
