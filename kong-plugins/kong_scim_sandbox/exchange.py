"""One request and its answer, on top of ASGI, as the plugins and the PDK see them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote_plus

from starlette.types import Receive, Scope, Send

from kong_scim import __version__
from kong_scim_sandbox.entity_schema import Entity
from kong_scim_sandbox.pdk import Exit
from kong_scim_sandbox.router import Match

if TYPE_CHECKING:
    from kong_scim_sandbox.authentication import Session

SERVER = f"kong-scim-sandbox/{__version__}"

JSON = "application/json; charset=utf-8"

BODY_BUFFER = 8 * 1024
"""Bytes of a body that are kept in memory, as by Nginx (``client_body_buffer_size``). A larger body
is kept in a temporary file."""

_DRAINED_AT_MOST = 64 * 1024 * 1024
"""Bytes of an unread body that are received at most, so that the client reads the answer."""

_ORIGIN = re.compile(r"^https?://[^/?#]*")
"""The part before the path of a request in absolute form (RFC 9112 §3.2.2)."""

_DRAINED_FOR = 2.0
"""Seconds for which an unread body is received. A slower client may miss the answer."""

Headers: TypeAlias = Mapping[str, Any]


class ClientGoneError(Exception):
    """The client closed the connection before its request was read."""


@dataclass
class Exchange:
    """A request with what the plugins note about it. It also sends the answer.

    :param upstream_headers: Headers that plugins set for the upstream, or remove (None).
    :param hidden_query: Names of query arguments that are not sent to the upstream.
    :param scim: The member ``scim`` that the guard adds to the record of log plugins.
    :param session: The session that authenticated the client, or None.
    :param ended: The session that the guard refused, or None.
    """

    scope: Scope
    receive: Receive
    send: Send
    port: int
    request_id: str = field(default_factory=lambda: secrets.token_hex(16))
    match: Match | None = None
    consumer: Entity | None = None
    credential: Entity | None = None
    upstream_headers: dict[str, str | None] = field(default_factory=dict)
    hidden_query: set[str] = field(default_factory=set)
    response_headers: dict[str, Any] = field(default_factory=dict)
    scim: dict[str, Any] | None = None
    token: str | None = None
    session: Session | None = None
    ended: Session | None = None
    _body_ended: bool = False
    _body: tempfile.SpooledTemporaryFile[bytes] | None = None
    _body_size: int | None = 0

    def __post_init__(self) -> None:
        self.method: str = self.scope["method"]
        self.raw_path: str = _ORIGIN.sub("", self.scope["raw_path"].decode("latin-1")) or "/"
        self.raw_query: str = self.scope["query_string"].decode("latin-1")
        self.headers: dict[str, list[str]] = {}
        for name, value in self.scope["headers"]:
            # MsgPack sends UTF-8, so decoding as latin-1 would change the octets.
            text = value.decode("utf-8", "surrogateescape")
            self.headers.setdefault(name.decode("latin-1").lower(), []).append(text)

    @property
    def host(self) -> str:
        """Return the host of the Host header, in lower case and without a port."""
        host = self.header("host") or "127.0.0.1"
        return (host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host).lower()

    @property
    def client_ip(self) -> str:
        """Return the address of the client. No proxy is trusted."""
        client = self.scope.get("client")
        return client[0] if client else "127.0.0.1"

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        return self.headers.get(name.lower(), [None])[0]

    def query(self) -> dict[str, list[str]]:
        """Return the decoded query arguments. One without ``=`` has an empty list."""
        arguments: dict[str, list[str]] = {}
        for part in filter(None, self.raw_query.split("&")):
            name, equals, value = part.partition("=")
            values = arguments.setdefault(_unquoted(name), [])
            if equals:
                values.append(_unquoted(value))
        return arguments

    async def chunks(self) -> MutableMapping[str, Any] | None:
        """Return the next message with a piece of the body, or None at its end."""
        if self._body_ended:
            return None
        message = await self.receive()
        if message["type"] == "http.disconnect":
            self._body_ended = True
            raise ClientGoneError
        self._body_ended = not message.get("more_body", False)
        return message

    async def body_size(self, limit: int) -> int | None:
        """Read the body, and return its size in bytes, or None if it is over the limit.

        It is read once, so each call must have the same limit. The rest of a larger body is not
        kept.

        :param limit: The limit in bytes.
        """
        if self._body is None:
            # close() closes it after the request.
            self._body = tempfile.SpooledTemporaryFile(BODY_BUFFER)  # noqa: SIM115
            self._body_size = await self._keep(limit)
        return self._body_size

    def body_piece(self, start: int, length: int) -> bytes:
        """Return some bytes of the body that :meth:`body_size` read; fewer at its end."""
        if self._body is None:
            return b""
        self._body.seek(start)
        return self._body.read(length)

    async def body(self, limit: int) -> tuple[bytes, bool]:
        """Return the request's body, and whether it is over the limit and therefore empty.

        :param limit: The limit in bytes, as for :meth:`body_size`.
        """
        size = await self.body_size(limit)
        return self.body_piece(0, size or 0), size is None

    async def _keep(self, limit: int) -> int | None:
        announced = self.header("content-length") or "0"
        if announced.isdecimal() and int(announced) > limit:
            return None
        assert self._body is not None  # noqa: S101 - by body_size()
        size = 0
        while (message := await self.chunks()) is not None:
            piece = message.get("body", b"")
            size += len(piece)
            self._body.write(piece)  # also beyond the limit, so that the bridge sees the excess
            if size > limit:
                return None
        return size

    def kept_body(self) -> tuple[bytes | None, str | None]:
        """Return the body that was read and None, or None and the path of the file with it."""
        if self._body is None:
            return None, None
        if self._body.seek(0, os.SEEK_END) <= BODY_BUFFER:
            return self.body_piece(0, BODY_BUFFER), None
        self._body.flush()
        return None, f"/dev/fd/{self._body.fileno()}"  # it has no name

    def close(self) -> None:
        """Delete the body."""
        if self._body is not None:
            self._body.close()

    def error(self, status: int, message: str, headers: Headers | None = None) -> Exit:
        """Return the answer of ``kong.response.error`` as the exception that ends the request."""
        body = f'{{\n  "message":{json.dumps(message)},\n  "request_id":"{self.request_id}"\n}}'
        return Exit(status, body.encode(), {"Content-Type": JSON, **(headers or {})})

    async def respond(self, status: int, body: bytes, headers: Headers) -> None:
        """Send a whole answer, and receive the rest of the request."""
        names = {name.lower() for name in headers}
        kept = [item for item in self.response_headers.items() if item[0].lower() not in names]
        kept += [item for item in headers.items() if item[0].lower() != "content-length"]
        if status == 204:  # as Nginx does (ngx_http_header_filter)
            kept = [item for item in kept if item[0].lower() != "content-type"]
        lines = list(encoded(kept))
        if status not in (204, 304):
            lines.append((b"content-length", str(len(body)).encode()))
        lines += self.own_headers()
        await self.send({"type": "http.response.start", "status": status, "headers": lines})
        sent = b"" if status == 204 else body
        if self._body_ended or not {"content-length", "transfer-encoding"} & self.headers.keys():
            await self.send({"type": "http.response.body", "body": sent})
            return
        await self.send({"type": "http.response.body", "body": sent, "more_body": True})
        with contextlib.suppress(TimeoutError, ClientGoneError):
            async with asyncio.timeout(_DRAINED_FOR):
                await self._drain()
        await self.send({"type": "http.response.body", "body": b""})

    async def _drain(self) -> None:
        drained = 0
        while drained < _DRAINED_AT_MOST and (message := await self.chunks()) is not None:
            drained += len(message.get("body", b""))

    def own_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that the gateway adds to every answer."""
        return [(b"server", SERVER.encode()), (b"x-kong-request-id", self.request_id.encode())]


def encoded(headers: Iterable[tuple[str, Any]]) -> Iterator[tuple[bytes, bytes]]:
    """Return headers as octets. A list of values makes one line for each."""
    for name, value in headers:
        for item in value if isinstance(value, (list, tuple)) else [value]:
            yield name.lower().encode("latin-1"), str(item).encode("utf-8", "surrogateescape")


def _unquoted(text: str) -> str:
    return unquote_plus(text, errors="surrogateescape")
