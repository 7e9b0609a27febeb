"""Starts the processes of a plugin server, starts one again that ends, and stops all in order.

The parent serves nothing itself. It imports the plugin before it starts the processes, so they
share that memory, and it has no threads, so it may fork at any time.

The parent and each process are connected by a socket pair. The parent sends :data:`STOP`, the
process finishes what runs and answers :data:`STOPPED`, and the parent sends :data:`END` once all
have answered, because until then a process passes on steps of the others' events. The end of the
connection tells each side that the other one has died.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Collection
from contextlib import suppress

log = logging.getLogger(__name__)

STOP, STOPPED, END = b"s", b"d", b"e"

RESTART_PAUSE = 1.0
"""Seconds from one start of a process to the next. One that fails at once must not use up the
machine."""

EXTRA = 1.0
"""Seconds that a process may take to stop and to end, beyond the grace for what runs."""


class Parent:
    """Runs a number of processes until it gets a signal.

    :param processes: How many.
    :param run: Runs in each process, with its number and its connection to this parent.
    """

    def __init__(self, processes: int, run: Callable[[int, socket.socket], None]) -> None:
        self._processes = processes
        self._run = run
        self._children: dict[int, _Child] = {}
        self._next_start: dict[int, float] = {}

    def serve(self, signals: Collection[signal.Signals]) -> signal.Signals:
        """Keep all processes running until one of the signals arrives, and return it."""
        received, wakeup = socket.socketpair()
        wakeup.setblocking(False)
        for each in signals:
            # Python calls no handler inside a system call: its number wakes the loop below.
            signal.signal(each, lambda *_: None)
        signal.set_wakeup_fd(wakeup.fileno())
        gc.collect()
        gc.freeze()  # the collector would write to memory that the processes share
        try:
            while True:
                self._start_missing()
                sockets = [received, *(child.socket for child in self._children.values())]
                if received in _readable(sockets, self._until_next_start()):
                    return signal.Signals(received.recv(1)[0])
                self._reap()
        finally:
            signal.set_wakeup_fd(-1)
            received.close()
            wakeup.close()

    def stop(self, grace: float) -> None:
        """Let all processes finish what runs, for at most ``grace`` seconds. They still listen."""
        self._tell(STOP)
        self._await(STOPPED, grace + EXTRA)

    def end(self) -> None:
        """End all processes."""
        self._tell(END)
        self._await(b"", EXTRA)
        for child in self._children.values():
            log.warning("process %d does not end: killing it", child.pid)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()

    def _start_missing(self) -> None:
        for number in range(self._processes):
            if number not in self._children and self._next_start.get(number, 0) <= time.monotonic():
                self._next_start[number] = time.monotonic() + RESTART_PAUSE
                self._children[number] = self._start(number)

    def _until_next_start(self) -> float | None:
        missing = [at for number, at in self._next_start.items() if number not in self._children]
        return max(0.0, min(missing) - time.monotonic()) if missing else None

    def _start(self, number: int) -> _Child:
        mine, theirs = socket.socketpair()
        pid = os.fork()
        if pid:
            theirs.close()
            return _Child(pid, mine)
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for each in (signal.SIGTERM, signal.SIGINT):
                # Both reach the whole group, from a supervisor or a terminal. The parent stops all.
                signal.signal(each, signal.SIG_IGN)
            mine.close()
            for child in self._children.values():
                child.socket.close()
            self._run(number, theirs)
            status = 0
        except BaseException:
            log.exception("process %d failed", number)
        finally:
            os._exit(status)

    def _reap(self) -> None:
        for number, child in list(self._children.items()):
            if child.has_ended():
                reason = child.wait()
                log.error(
                    "process %d (%d) ended with %s; starting it again", number, child.pid, reason
                )
                del self._children[number]

    def _tell(self, order: bytes) -> None:
        for child in self._children.values():
            with suppress(OSError):  # it has ended
                child.socket.sendall(order)

    def _await(self, answer: bytes, seconds: float) -> None:
        """Wait until all processes have answered or ended, and forget those that have ended."""
        deadline = time.monotonic() + seconds
        waiting = {child.socket: number for number, child in self._children.items()}
        while waiting and (left := deadline - time.monotonic()) > 0:
            for sock in _readable(list(waiting), left):
                number = waiting[sock]
                received = _receive(sock)
                if not received:
                    self._children.pop(number).wait()
                if received in (b"", answer):
                    del waiting[sock]


class _Child:
    """A process that this one started, and the connection to it."""

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self.socket = sock

    def has_ended(self) -> bool:
        return bool(_readable([self.socket], 0)) and not _receive(self.socket)

    def wait(self) -> str:
        """Wait for its end, and return how it ended."""
        self.socket.close()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return f"status {code}" if code >= 0 else signal.Signals(-code).name


def _readable(sockets: list[socket.socket], timeout: float | None) -> list[socket.socket]:
    with selectors.DefaultSelector() as selector:
        for each in sockets:
            selector.register(each, selectors.EVENT_READ, each)
        return [key.data for key, _ in selector.select(timeout)]


def _receive(sock: socket.socket) -> bytes:
    """Return what the other side sent, or nothing if it has ended."""
    try:
        return sock.recv(1)
    except OSError:
        return b""
