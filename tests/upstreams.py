"""Servers behind a gateway: an upstream that answers with the request, and an LDAP directory."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        seen = {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Write nothing."""


PASSWORD = "a password of the directory"
"""Of everybody whom :func:`directory_server` knows, which is anybody."""


class _Bind(StreamRequestHandler):
    def handle(self) -> None:
        while head := self.rfile.read(2):
            size = head[1]
            if size > 127:
                size = int.from_bytes(self.rfile.read(size & 0x7F))
            request = self.rfile.read(size)
            message_id = request[: 2 + request[1]]
            result = 0 if PASSWORD.encode() in request else 49
            body = message_id + bytes([0x61, 7, 0x0A, 1, result, 4, 0, 4, 0])
            self.wfile.write(bytes([0x30, len(body)]) + body)


@contextlib.contextmanager
def directory_server() -> Iterator[int]:
    """Run an LDAP directory that takes one password of anybody, and yield its port."""
    with ThreadingTCPServer(("127.0.0.1", 0), _Bind) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextlib.contextmanager
def echo_server() -> Iterator[str]:
    """Run an upstream that answers with what it saw, and yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
