"""Listens on loopback and serves there, as the console and the sandbox do."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

HOST = "127.0.0.1"

_GRACE = 2


def listen(port: int, backlog: int = 128) -> socket.socket:
    """Return a socket that listens on a port of loopback; 0 for a free one.

    :raises OSError: The port is taken; the error names it.
    """
    # Without the protocol's number asyncio leaves Nagle's algorithm on: 40 ms more for an answer.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        # From here on clients may connect, and wait until they are served.
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"port {port} of {HOST}: {error.strerror}") from error
    return listening


def config(app: Any, *, grace: int = _GRACE, **more: Any) -> uvicorn.Config:
    """Return the settings of a server on loopback.

    It trusts no ``X-Forwarded-*`` header: by default uvicorn trusts those from loopback.

    :param grace: Seconds that requests have to finish when the server stops.
    :param more: Further settings of uvicorn.
    """
    return uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=grace,
        **more,
    )
