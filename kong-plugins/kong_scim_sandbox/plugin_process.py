"""The plugin server as a process of its own, started again whenever it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)

START_TIMEOUT = 30.0
"""Seconds after which a plugin server that does not listen counts as failed."""

_STOP_TIMEOUT = 10.0
_RESTART_DELAY = 0.2
_POLL = 0.02

_PR_SET_PDEATHSIG = 1


class PluginServerError(RuntimeError):
    """The plugin server did not start."""


class PluginProcess:
    """Runs ``python -m kong_scim.pluginserver`` on a socket in a private directory.

    :param socket: The socket where it listens. The path may have 107 bytes at most.
    :param command: The command that starts the plugin server. ``--socket PATH`` is added to it.
    :param options: Further options for the command.
    """

    def __init__(
        self,
        socket: Path,
        command: Sequence[str] = (sys.executable, "-m", "kong_scim.pluginserver"),
        options: Sequence[str] = (),
    ) -> None:
        self.ended: Callable[[], None] = lambda: None
        """Called each time that a plugin server has ended, before the next one is started."""
        self.socket = str(socket)
        self._command = [*command, *options]
        self._process: asyncio.subprocess.Process | None = None
        self._listening = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Return the process id of the plugin server, or None while none listens."""
        return self._process.pid if self._process and self._listening.is_set() else None

    async def start(self) -> None:
        """Start the plugin server and wait until it listens.

        :raises PluginServerError: When it ends, or does not listen within :data:`START_TIMEOUT`.
        """
        await self._start_once()
        self._supervisor = asyncio.create_task(self._supervise())

    async def ready(self) -> None:
        """Wait until a plugin server listens, for :data:`START_TIMEOUT` at most."""
        if self._listening.is_set():
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._listening.wait(), START_TIMEOUT)

    async def stop(self) -> None:
        """Stop the plugin server, and do not start it again."""
        if self._supervisor:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        await self._end()

    async def _start_once(self) -> None:
        Path(self.socket).unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            "--socket",
            self.socket,
            stdin=asyncio.subprocess.DEVNULL,
            preexec_fn=end_with_parent(),
            # Ctrl-C reaches the whole foreground group, and the sandbox stops things in its order.
            start_new_session=True,
        )
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT
        while not await self._is_listening():
            if self._process.returncode is not None:
                raise PluginServerError(
                    f"the plugin server ended with status {self._process.returncode} at its start"
                )
            if asyncio.get_running_loop().time() > deadline:
                await self._end()
                raise PluginServerError(f"the plugin server did not listen in {START_TIMEOUT:g} s")
            await asyncio.sleep(_POLL)
        self._listening.set()

    async def _is_listening(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return False
        writer.close()
        return True

    async def _supervise(self) -> None:
        while True:
            status = await self._process.wait() if self._process else None
            self._listening.clear()
            self.ended()
            _log.warning("the plugin server ended with status %s; starting it again", status)
            try:
                await self._start_once()
            except PluginServerError as error:
                _log.error("%s", error)
                await asyncio.sleep(_RESTART_DELAY)

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT)
        except TimeoutError:
            process.kill()
            await process.wait()


def end_with_parent() -> Callable[[], object] | None:
    """Return a function for a child to run first, so that it ends with its parent (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
