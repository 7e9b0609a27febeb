"""Connects the processes of a plugin server with each other.

Kong takes a connection from its pool for each call, so a step may arrive at another process than
its event. That process passes the call on, and its answer back. Code of the plugin asks the other
processes through :mod:`kong_scim.processes`.

Each process has a mailbox. Whoever wants to talk with a process makes a pair of connected sockets
and sends one of them there; the process serves it like a connection from Kong.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from kong_scim import processes
from kong_scim.pluginserver.wire import (
    Call,
    CallGoneError,
    Connection,
    MalformedError,
    encode,
    messages,
)

log = logging.getLogger(__name__)

ASK = "processes.Ask"
"""The method with which a process calls an offered function of another."""

PATIENCE = 2.0
"""Seconds that a process waits for the answer of another, or for room in its mailbox."""


class PeerGoneError(Exception):
    """The other process cannot be reached, since it has just ended."""


class Mailbox:
    """The socket pair over which one process is sent connections.

    The process that starts the others makes all mailboxes, and never reads from one. So what is
    sent to a process that is being started again waits for it.
    """

    def __init__(self) -> None:
        self._inside, self._outside = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._outside.settimeout(PATIENCE)

    def connect(self) -> socket.socket:
        """Return a new connection to the process of this mailbox.

        :raises OSError: When descriptors have run out, or the process does not read its mailbox.
        """
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            socket.send_fds(self._outside, [b"c"], [theirs.fileno()])
        except BaseException:
            mine.close()
            raise
        finally:
            theirs.close()
        return mine

    def accept(self) -> socket.socket | None:
        """Wait for a connection; return None for one that was lost, as descriptors have run out."""
        _, descriptors, _, _ = socket.recv_fds(self._inside, 1, 1)
        return socket.socket(fileno=descriptors[0]) if descriptors else None


class Peers:
    """The other processes, as one process sees them.

    :param here: The number of this process.
    :param mailboxes: One for each process, by its number.
    """

    def __init__(self, here: int, mailboxes: Sequence[Mailbox]) -> None:
        self._here = here
        self._mailboxes = mailboxes
        self._links: dict[tuple[Connection, int], _Link] = {}

    def serve(self, serve: Callable[[socket.socket], None]) -> None:
        """Begin to serve the connections of the other processes.

        :param serve: Serves a connection, on a thread of its own.
        """
        threading.Thread(target=self._accept, args=(serve,), name="mailbox", daemon=True).start()
        processes.connect(self.ask)

    def ask(self, name: str, argument: Any) -> list[Any]:
        """Call an offered function in each other process; see :func:`.processes.ask_others`."""
        results = []
        for number, mailbox in enumerate(self._mailboxes):
            if number == self._here:
                continue
            try:
                with mailbox.connect() as sock:
                    sock.settimeout(PATIENCE)
                    sock.sendall(encode([0, 1, ASK, [name, argument]]))
                    _, _, error, result = next(messages(sock))
            except (OSError, StopIteration, MalformedError) as failure:
                log.info("process %d did not answer %s: %s", number, name, failure)
                continue
            if error is None:
                results.append(result)
            else:
                log.error("process %d, %s: %s", number, name, error)
        return results

    def forward(self, call: Call, process: int) -> None:
        """Pass a call on to another process. Its answer is passed back when it comes.

        Each connection of Kong has a connection to each process that it has calls for. So if Kong
        hangs up, the other process notices.

        :raises PeerGoneError: When the process cannot be reached.
        """
        key = (call.connection, process)
        link = self._links.get(key)
        try:
            if link is None or not link.is_open:
                link = self._links[key] = _Link(self._mailboxes[process].connect(), process)
                call.connection.on_end = self._drop_all
            call.on_gone = lambda _: self._drop(key)
            link.send(call)
        except OSError as error:
            self._drop(key)
            raise PeerGoneError(f"process {process} cannot be reached: {error}") from error

    def _accept(self, serve: Callable[[socket.socket], None]) -> None:
        while True:
            try:
                sock = self._mailboxes[self._here].accept()
            except OSError as error:
                log.warning("cannot read the mailbox: %s", error)
                return
            if sock is not None:
                serve(sock)

    def _drop_all(self, connection: Connection) -> None:
        for process in range(len(self._mailboxes)):
            self._drop((connection, process))

    def _drop(self, key: tuple[Connection, int]) -> None:
        link = self._links.pop(key, None)
        if link is not None:
            link.close()


class _Link:
    """A connection to another process, for the calls of one connection of Kong.

    It has a thread that passes the answers back, so that the thread of Kong's connection can notice
    when Kong hangs up.
    """

    def __init__(self, sock: socket.socket, process: int) -> None:
        self._socket = sock
        self._process = process
        self._call: Call | None = None
        self.is_open = True
        threading.Thread(target=self._pass_back, name="link", daemon=True).start()

    def send(self, call: Call) -> None:
        self._call = call
        self._socket.sendall(encode([0, 1, call.method, call.arguments]))

    def close(self) -> None:
        """End the connection, and with it the thread."""
        self.is_open = False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _pass_back(self) -> None:
        with self._socket, suppress(OSError):
            for _, _, error, result in messages(self._socket):
                call, self._call = self._call, None
                if call is not None and error is not None:
                    call.fail(error)
                elif call is not None:
                    with suppress(CallGoneError):
                        call.answer(result)
                del call, result
        self.is_open = False
        if self._call is not None:
            self._call.fail(f"process {self._process} of the plugin server has ended")
