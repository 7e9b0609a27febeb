"""Connects to servers of others: only to an address that is allowed, and within one time limit.

A name is looked up once for each connection, and the address that was judged is the one that is
connected to: nobody can change it in between (DNS rebinding). A connection that is used again stays
with the name it was made for, whose certificate it showed.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from kong_scim.outgoing.addresses import is_public
from kong_scim.outgoing.certificates import refusal

PIECE = 16 * 1024
"""Bytes that are written at a time, so that a receiver that reads slowly is noticed."""

Resolve = Callable[[str, int], list[str]]


class Refused(Exception):  # noqa: N818 - the answer to a question, not a failure
    """A target must not be called, or its answer is not HTTP; the message says why."""


_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpx.InvalidURL,
    OSError,
    UnicodeError,
)


def why(error: BaseException, seconds: float) -> str:
    """Say why an exchange failed, without anything of its URL or of what a library says of it.

    :param seconds: How long the exchange might take.
    """
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, httpcore.TimeoutException | TimeoutError):
        return f"no whole answer within {seconds:g} s"
    # httpcore puts what happened inside.
    inside = next((each for each in error.args if isinstance(each, Exception)), error)
    if isinstance(inside, ssl.SSLCertVerificationError):
        return refusal(inside)
    if is_expected(error):
        return f"the connection failed: {type(inside).__name__}"
    return f"it failed in a way that nobody foresaw: {type(error).__name__}"


def is_expected(error: BaseException) -> bool:
    """Tell whether an exchange may fail with this by what the other side does."""
    return isinstance(error, (Refused, httpcore.TimeoutException, *_FAILURES))


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Connections(httpcore.NetworkBackend):
    """Makes connections for httpcore. One of them can serve many threads."""

    def __init__(self, resolve: Resolve = resolve) -> None:
        self._resolve = resolve
        self._sockets = httpcore.SyncBackend()
        self._of_thread = threading.local()

    @contextmanager
    def within(self, seconds: float, *, private: bool) -> Iterator[None]:
        """Limit the time of everything this thread does: a server may send a byte a second.

        :param private: Whether a host may have a private or link-local address.
        """
        self._of_thread.deadline = time.monotonic() + seconds
        self._of_thread.private = private
        yield

    def left(self) -> float:
        """Return how many seconds this thread has yet.

        :raises httpcore.TimeoutException: When it has none.
        """
        seconds: float = self._of_thread.deadline - time.monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout("too slow")
        return seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers.

        :raises Refused: When one of its addresses must not be called.
        """
        del timeout  # one time for all
        addresses = self._judged(host, port)
        failure: Exception = httpcore.ConnectError("no address")
        for number, address in enumerate(addresses):
            share = self.left() / (len(addresses) - number)
            try:
                stream = self._sockets.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self.left)
        raise failure

    def _judged(self, host: str, port: int) -> list[str]:
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError):  # the latter for a name that IDNA has no form for
            raise Refused("the name of the host is not known") from None
        if not addresses:
            raise Refused("the host has no address")
        if not self._of_thread.private and not all(map(is_public, addresses)):
            raise Refused("the host has a private or link-local address (events.allow_hosts)")
        return addresses


class _Stream(httpcore.NetworkStream):
    """A connection on which every step has what is left of one time limit."""

    def __init__(self, stream: httpcore.NetworkStream, left: Callable[[], float]) -> None:
        self._stream = stream
        self._left = left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        return self._stream.read(max_bytes, self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        for start in range(0, len(buffer), PIECE):
            self._stream.write(buffer[start : start + PIECE], self._left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        del timeout
        stream = self._stream.start_tls(ssl_context, server_hostname, self._left())
        return _Stream(stream, self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
