"""Reads HTTP with the parser of Node.js (llhttp), and passes every request that it can read on.

uvicorn has the rest: keep-alive, pipelined requests, flow control. What it would refuse by itself
goes to :mod:`.front` here, so that the answer is that of Nginx.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.http import httptools_impl

LARGEST_HEAD = 128 * 1024
"""Bytes of a request line with its headers that are received at most."""


class HttpProtocol(httptools_impl.HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # front.py refuses a request with both lengths.
        self.parser.set_dangerous_leniencies(lenient_chunked_length=True)
        self._in_head = True
        self._head_size = 0

    def data_received(self, data: bytes) -> None:
        """Read what was received."""
        self._head_size = self._head_size + len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._head_size > LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header. What follows a chunked body is none, whatever it says."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._in_head = False
        # uvicorn parses a URL here, and not each target is one: `OPTIONS *` is not.
        target, self.url = self.url, b"/"
        super().on_headers_complete()
        path, _, query = target.partition(b"?")
        self.scope["path"] = unquote(path.decode("latin-1"))
        self.scope["raw_path"], self.scope["query_string"] = path, query

    def on_message_complete(self) -> None:
        """End a request, after which the next one may be received."""
        super().on_message_complete()
        self._in_head, self._head_size = True, 0
