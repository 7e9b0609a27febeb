"""What Nginx refuses before Kong looks at a request, with its limits as Kong leaves them.

As on Kong 3.9, ``large_client_header_buffers`` is 4 times 8 KiB, and a path must be decodable.
"""

from __future__ import annotations

import re

from kong_scim_sandbox.exchange import Exchange
from kong_scim_sandbox.pdk import Exit

_BUFFER = 8 * 1024
_BUFFERS = 4

_NOT_DECODABLE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")

_HOST = re.compile(r"[^\s/?#@\x00-\x20\x7f]*")


def admit(exchange: Exchange) -> None:
    """Pass a request on to the router, or refuse it.

    :raises ~kong_scim_sandbox.pdk.Exit: 400, 405 or 414.
    """
    headers = exchange.scope["headers"]
    lines = [len(name) + len(value) + len(": \r\n") for name, value in headers]
    target = exchange.raw_path + exchange.raw_query
    if len(f"{exchange.method} {target} HTTP/1.1\r\n") > _BUFFER:
        raise _refusal(exchange, 414, "URI too long")
    if max(lines, default=0) > _BUFFER or sum(lines) > _BUFFERS * _BUFFER:
        raise _refusal(exchange, 400, "Request header or cookie too large")
    if (
        exchange.method == "CONNECT"
        or not exchange.raw_path.startswith("/")
        or _NOT_DECODABLE.search(exchange.raw_path)
        or not _HOST.fullmatch(exchange.header("host") or "")
        or not _has_host(exchange)
        or {"content-length", "transfer-encoding"} <= exchange.headers.keys()
    ):
        raise _refusal(exchange, 400, "Bad request")
    if exchange.method == "TRACE":
        raise _refusal(exchange, 405, "Method not allowed")


def _has_host(exchange: Exchange) -> bool:
    """Whether a request names its host as often as RFC 9112 §3.2 wants."""
    count = len(exchange.headers.get("host", ()))
    return count == 1 or (count == 0 and exchange.scope["http_version"] == "1.0")


def _refusal(exchange: Exchange, status: int, message: str) -> Exit:
    """Return the answer of ``kong/error_handlers.lua``: plain text if the request names no type."""
    if exchange.header("accept") or exchange.header("content-type"):
        return exchange.error(status, message)
    body = f"{message}\nrequest_id: {exchange.request_id}\n"
    return Exit(status, body.encode(), {"Content-Type": "text/plain; charset=utf-8"})
