"""Listens at a unix socket, with one thread for each connection.

Several processes may accept connections at one socket. Each waits in ``accept``, and the kernel
gives a new connection to the process that has waited for longest.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kong_scim.pluginserver.wire import Call, Connection

log = logging.getLogger(__name__)

BACKLOG = 4096
"""Connections that the kernel queues until they are accepted, at most ``net.core.somaxconn``."""


class SocketTakenError(Exception):
    """The path of the socket cannot be used. The message says why."""


class ListeningSocket:
    """The unix socket at a path, for any number of processes.

    The socket appears at its path only when it has its mode and listens, so Kong never finds one
    that does not work. The socket of a dead server at that path is replaced.

    :param mode: Permissions of the socket file, such as 0o660. Whoever may connect may call.
    :raises SocketTakenError: When another server is listening there, or the path cannot be used.
    """

    def __init__(self, path: Path, *, mode: int) -> None:
        self._path = path
        self._socket, self._inode = _bind(path, mode)

    def accept(self) -> socket.socket | None:
        """Wait for a connection, and return it, or None after :meth:`close` in any process.

        :raises OSError: When there is one and it cannot be accepted.
        """
        try:
            return self._socket.accept()[0]
        except OSError as error:
            if error.errno == errno.EINVAL:  # accept() ends with it after shutdown()
                return None
            raise

    def close(self) -> None:
        """Remove the socket. No process accepts a connection any more."""
        if _inode(self._path) == self._inode:  # otherwise another server has replaced it
            self._path.unlink()
        self._socket.shutdown(socket.SHUT_RDWR)


class Listener:
    """Accepts Kong's connections in this process.

    :param send_timeout: In seconds, see :class:`Connection`.
    """

    def __init__(
        self,
        listening: ListeningSocket,
        handle: Callable[[Call], None],
        *,
        send_timeout: float,
    ) -> None:
        self._listening = listening
        self._handle = handle
        self._send_timeout = send_timeout
        self._connections: dict[Connection, threading.Thread] = {}
        self._lock = threading.Lock()
        self._accepting = threading.Thread(target=self._accept, name="listener", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """End every connection, once the listening socket is closed."""
        self._accepting.join()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            connection.close()
        for thread in connections.values():
            thread.join(timeout=1)

    def serve(self, sock: socket.socket, handle: Callable[[Call], None] | None = None) -> None:
        """Serve a connection on a thread of its own.

        :param handle: Handles its calls, if not as those of Kong.
        """
        connection = Connection(sock, handle or self._handle, send_timeout=self._send_timeout)
        thread = threading.Thread(
            target=self._serve, args=(connection,), name="connection", daemon=True
        )
        with self._lock:
            self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError as error:
            log.warning("cannot serve a connection: %s", error)
            with self._lock:
                del self._connections[connection]
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock = self._listening.accept()
            except OSError as error:
                log.warning("cannot accept a connection: %s", error)
                time.sleep(0.1)  # mostly descriptors have run out, and others must be closed first
                continue
            if sock is None:
                return
            self.serve(sock)

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                del self._connections[connection]


def _bind(path: Path, mode: int) -> tuple[socket.socket, tuple[int, int] | None]:
    if path.exists():
        _refuse_unless_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unready = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unready.unlink(missing_ok=True)
        listening.bind(str(unready))
        unready.chmod(mode)
        listening.listen(BACKLOG)
        unready.rename(path)
    except OSError as error:
        listening.close()
        raise SocketTakenError(f"cannot listen at {path}: {error}") from error
    return listening, _inode(path)


def _refuse_unless_stale(path: Path) -> None:
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise SocketTakenError(f"{path} is there and is no socket: remove it, or name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            log.info("replacing the socket of a server that is gone: %s", path)
            return
        except OSError as error:
            raise SocketTakenError(f"cannot tell whether {path} is in use: {error}") from error
    raise SocketTakenError(f"another server is listening at {path}: stop it, or name another path")


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
