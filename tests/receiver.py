"""A receiver of webhooks on loopback, as good or as bad as a test wants it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG, HALF, CLOSE = "hang", "half", "close"
"""Answers that are none: never, half of one, and a closed connection."""

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
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def taken(self) -> list[Post]:
        """Return the requests that were taken."""
        with self.lock:
            return [post for post in self.posts if post.taken]


@contextlib.contextmanager
def receiver(answer: Answer = 200) -> Iterator[Receiver]:
    """Run a receiver until the end of the block."""
    made = Receiver(behave=lambda _: answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with made.lock:
                answer = made.behave(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                made.posts.append(Post(headers, body, answer))
            _reply(self, answer, made.stopped)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield made
        finally:
            made.stopped.set()
            server.shutdown()


def _reply(handler: BaseHTTPRequestHandler, answer: Answer, stopped: threading.Event) -> None:
    handler.close_connection = True
    if answer == HANG:
        stopped.wait()
        return
    if answer == CLOSE:
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
