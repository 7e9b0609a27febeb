"""Reads calls and sends answers on a connection, in the form that ``mp_rpc.lua`` uses.

A call is ``[0, id, method, args]``, and its answer ``[1, id, error, result]``. Kong takes a
connection from a keepalive pool for each call, and reads the answer before it sends another call.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack

MAX_MESSAGE = 96 * 1024 * 1024
"""Bytes of a message that one peer can make the server hold. A body of 64 MiB fits, as Base64."""

MAX_ITEMS = 128 * 1024
"""Items that one array or map may have. The decoder allocates as many as a header announces, so
five bytes of garbage could cost gigabytes. Longer lists are sent as JSON text."""

CHUNK = 64 * 1024
"""Bytes that are read at once."""

ANSWER = 8 * 1024
"""Bytes of the buffer into which an answer is first packed. The default would be 256 KiB."""

LARGE = 4 * CHUNK
"""Bytes of a message above which its buffer is not kept."""

log = logging.getLogger(__name__)


class MalformedError(Exception):
    """The message that arrived is not a call."""


class CallGoneError(Exception):
    """Kong no longer waits for this answer."""


def encode(message: object) -> bytes:
    """Return a message in MsgPack. Strings from :func:`messages` get their original bytes back.

    :raises TypeError: For a value that MsgPack cannot encode.
    """
    packed: bytes = msgpack.packb(message, unicode_errors="surrogateescape", buf_size=ANSWER)
    return packed


def status_at(path: Path, timeout: float = 5) -> dict[str, Any]:
    """Return the status of the plugin server that listens at a unix socket.

    :raises OSError: When no plugin server answers there within ``timeout`` seconds.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(str(path))
        sock.sendall(encode([0, 1, "plugin.GetStatus", []]))
        try:
            _, _, error, status = next(messages(sock))
        except (MalformedError, StopIteration, TypeError, ValueError):
            raise OSError("what listens there is no plugin server") from None
    if error or not isinstance(status, dict):
        raise OSError(f"the plugin server has no status: {error}")
    return status


def messages(sock: socket.socket) -> Iterator[Any]:
    """Yield the messages that arrive on ``sock``, until the peer closes it.

    A Lua string may have any bytes. Those that are not UTF-8 become surrogate escapes (PEP 383).

    :raises MalformedError: For data that is not MsgPack, or is over :data:`MAX_MESSAGE`.
    """
    # All chunks use one buffer. recv() would allocate CHUNK bytes for each, and the heap would
    # grow, because objects that live longer get into the rest of a freed chunk.
    buffer = memoryview(bytearray(CHUNK))
    unpacker = _unpacker()
    fed, grown = 0, False
    while size := sock.recv_into(buffer):
        try:
            unpacker.feed(buffer[:size])
            yield from unpacker
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise MalformedError(f"{type(error).__name__}: {error}") from None
        fed += size
        # An unpacker keeps the largest buffer that it ever needed, and a connection lives long.
        incomplete = fed - unpacker.tell()
        grown = grown or incomplete > LARGE
        if grown and not incomplete:
            unpacker = _unpacker()
            fed, grown = 0, False


def _unpacker() -> msgpack.Unpacker:
    return msgpack.Unpacker(
        read_size=CHUNK,  # the size of its first buffer
        strict_map_key=False,
        unicode_errors="surrogateescape",
        max_buffer_size=MAX_MESSAGE,
        max_array_len=MAX_ITEMS,
        max_map_len=MAX_ITEMS,
    )


class Call:
    """A call from Kong, which gets one answer."""

    def __init__(
        self, connection: Connection, call_id: int, method: str, arguments: list[Any]
    ) -> None:
        self.connection = connection
        self.method = method
        self.arguments = arguments
        self.on_gone: Callable[[Call], None] | None = None
        """Called when Kong stops waiting before there is an answer."""
        self.on_hangup: Callable[[Call], None] | None = None
        """Called when the connection ends after the answer, without another call in between."""
        self._id = call_id

    def encode_answer(self, result: object) -> bytes:
        """Return the encoded answer, for :meth:`send`. The call stays open.

        :raises TypeError: For a value that MsgPack cannot encode.
        """
        return encode([1, self._id, None, result])

    def send(self, answer: bytes) -> None:
        """Send an answer that :meth:`encode_answer` made.

        :raises CallGoneError: When Kong does not wait for it any more.
        """
        self.connection.send_answer(self, answer)

    def answer(self, result: object) -> None:
        """Answer with a result.

        :raises CallGoneError: When Kong does not wait for it any more.
        """
        self.send(self.encode_answer(result))

    def fail(self, error: str) -> None:
        """Answer with an error, which Kong logs. If Kong no longer waits, this does nothing."""
        try:
            self.send(encode([1, self._id, error, None]))
        except CallGoneError:
            log.debug("nobody waits for the error: %s", error)


class Connection:
    """One connection from Kong. It reads calls, passes them to ``handle``, and sends the answers.

    :param send_timeout: Seconds after which a peer that does not read counts as gone.
    """

    def __init__(
        self, sock: socket.socket, handle: Callable[[Call], None], *, send_timeout: float
    ) -> None:
        self.on_end: Callable[[Connection], None] | None = None
        """Called when the connection has ended."""
        self._socket = sock
        self._handle = handle
        self._lock = threading.Lock()
        self._open_call: Call | None = None
        self._answered: Call | None = None
        # settimeout() would also limit the wait for the next call.
        whole, fraction = divmod(send_timeout, 1)
        timeval = struct.pack("ll", int(whole), int(fraction * 1_000_000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)

    def serve(self) -> None:
        """Handle calls until either side closes the connection."""
        try:
            for message in messages(self._socket):
                call = self._call_of(message)
                del message  # a large body would stay until the next call
                self._replace_open_call(call)
                self._handle(call)
                del call
        except MalformedError as error:
            log.warning("closing a connection that sent something other than a call: %s", error)
        except OSError as error:
            log.debug("connection lost: %s", error)
        finally:
            self._replace_open_call(None)
            self.close()
            self._socket.close()
            if self._answered is not None and self._answered.on_hangup is not None:
                self._answered.on_hangup(self._answered)
            if self.on_end is not None:
                self.on_end(self)

    def send_answer(self, call: Call, answer: bytes) -> None:
        """Send the whole answer to the call that Kong waits for.

        :raises CallGoneError: When Kong does not wait for this call, or does not read.
        """
        with self._lock:
            if self._open_call is not call:
                raise CallGoneError("Kong does not wait for this answer any more")
            self._open_call, self._answered = None, call
            try:
                self._socket.sendall(answer)
            except OSError as error:
                self.close()  # a part may be sent, so Kong could not read another answer
                raise CallGoneError(f"Kong does not take the answer: {error}") from error

    def close(self) -> None:
        """End the connection; :meth:`serve` returns."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            log.debug("the connection was closed already")

    def _call_of(self, message: object) -> Call:
        match message:
            case [0, int(call_id), str(method), list(arguments)]:
                return Call(self, call_id, method, arguments)
        raise MalformedError("expected [0, id, method, args]")

    def _replace_open_call(self, call: Call | None) -> None:
        # Kong puts a connection back into its pool even after a read timeout. If it sends another
        # call before our answer, it gave the first call up, and would take an answer to that one
        # as the answer to the new call.
        with self._lock:
            given_up, self._open_call = self._open_call, call
            if call is not None:
                self._answered = None
        if given_up is not None and given_up.on_gone is not None:
            given_up.on_gone(given_up)
