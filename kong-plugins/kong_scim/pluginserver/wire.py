"""Reads calls and sends answers on a connection, in the form that ``mp_rpc.lua`` uses.

A call is ``[0, id, method, args]``, its answer ``[1, id, error, result]``. Kong takes a connection
from a keepalive pool for each call and reads the answer before it sends another.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

MAX_MESSAGE = 96 * 1024 * 1024
"""In bytes: what one peer can make us hold. A body of 64 MiB fits in, as Base64."""

MAX_ITEMS = 128 * 1024
"""Of one array or map. Lists of that length travel as JSON text, and the decoder allocates what a
header announces: five bytes of garbage must not cost gigabytes."""

CHUNK = 64 * 1024
"""In bytes: what is read at once."""

ANSWER = 8 * 1024
"""In bytes: what an answer is packed into at first. By default it would be 256 KiB for each."""

LARGE = 4 * CHUNK
"""In bytes: a message above leaves no buffer of its size behind."""

log = logging.getLogger(__name__)


class MalformedError(Exception):
    """The message that arrived is not a call."""


class CallGoneError(Exception):
    """Kong no longer waits for this answer."""


def encode(message: object) -> bytes:
    """Return a message as Kong reads it; strings decoded by :func:`messages` come out as they were.

    :raises TypeError: For a value MsgPack has no form for.
    """
    packed: bytes = msgpack.packb(message, unicode_errors="surrogateescape", buf_size=ANSWER)
    return packed


def messages(sock: socket.socket) -> Iterator[Any]:
    """Yield what arrives on ``sock``, until the peer closes it.

    A Lua string is any bytes: one that is not UTF-8 comes with surrogate escapes (PEP 383).

    :raises MalformedError: For what is no MsgPack, or over :data:`MAX_MESSAGE`.
    """
    # One buffer for all chunks: recv() allocates CHUNK for each, and where something that lasts
    # gets into what is left of it, the next one does not fit there: the heap grows by such holes.
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
        # An unpacker keeps the largest buffer it ever needed, and a connection lives for long.
        incomplete = fed - unpacker.tell()
        grown = grown or incomplete > LARGE
        if grown and not incomplete:
            unpacker = _unpacker()
            fed, grown = 0, False


def _unpacker() -> msgpack.Unpacker:
    return msgpack.Unpacker(
        read_size=CHUNK,  # of the buffer that it begins with
        strict_map_key=False,
        unicode_errors="surrogateescape",
        max_buffer_size=MAX_MESSAGE,
        max_array_len=MAX_ITEMS,
        max_map_len=MAX_ITEMS,
    )


class Call:
    """A call that waits for its one answer."""

    def __init__(
        self, connection: Connection, call_id: int, method: str, arguments: list[Any]
    ) -> None:
        self.method = method
        self.arguments = arguments
        self.on_gone: Callable[[Call], None] | None = None
        """Run when Kong stops waiting before there is an answer."""
        self.on_hangup: Callable[[Call], None] | None = None
        """Run when the connection ends and no other call came on it after the answer."""
        self._connection = connection
        self._id = call_id

    def encode_answer(self, result: object) -> bytes:
        """Return the answer as it travels, for :meth:`send`. The call stays open.

        :raises TypeError: For a value MsgPack has no form for.
        """
        return encode([1, self._id, None, result])

    def send(self, answer: bytes) -> None:
        """Send what :meth:`encode_answer` made.

        :raises CallGoneError: When Kong does not wait for it any more.
        """
        self._connection.send_answer(self, answer)

    def answer(self, result: object) -> None:
        """Answer with a result.

        :raises CallGoneError: When Kong does not wait for it any more.
        """
        self.send(self.encode_answer(result))

    def fail(self, error: str) -> None:
        """Answer with an error; Kong logs it. Does nothing when Kong does not wait any more."""
        try:
            self.send(encode([1, self._id, error, None]))
        except CallGoneError:
            log.debug("nobody waits for the error: %s", error)


class Connection:
    """One connection of Kong: reads calls, hands them on, and sends each its answer.

    :param send_timeout: In seconds. A peer that does not read for so long is gone.
    """

    def __init__(
        self, sock: socket.socket, handle: Callable[[Call], None], *, send_timeout: float
    ) -> None:
        self._socket = sock
        self._handle = handle
        self._lock = threading.Lock()
        self._open_call: Call | None = None
        self._answered: Call | None = None
        # Not settimeout(): that would end the wait for the next call, too.
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

    def send_answer(self, call: Call, answer: bytes) -> None:
        """Send the answer of the call Kong waits for, whole.

        :raises CallGoneError: When Kong waits for another call, for none, or does not read.
        """
        with self._lock:
            if self._open_call is not call:
                raise CallGoneError("Kong does not wait for this answer any more")
            self._open_call, self._answered = None, call
            try:
                self._socket.sendall(answer)
            except OSError as error:
                self.close()  # part of the answer may be out: nothing after it could be understood
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
        # Kong puts a connection back into its pool also after a read timeout. Whatever it sends
        # before our answer means that it gave that call up, and an answer to it would be taken for
        # the next one's.
        with self._lock:
            given_up, self._open_call = self._open_call, call
            if call is not None:
                self._answered = None
        if given_up is not None and given_up.on_gone is not None:
            given_up.on_gone(given_up)
