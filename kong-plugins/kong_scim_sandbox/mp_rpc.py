"""Kong's side of the plugin-server protocol: MsgPack RPC over a unix socket.

It follows ``kong/runloop/plugin_servers/rpc/mp_rpc.lua`` and ``plugin.lua`` of Kong 3.9.3.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgpack

from kong_scim_sandbox.pdk import SandboxPdk
from kong_scim_sandbox.plugins import DeclaredPlugin

_log = logging.getLogger(__name__)

READ_TIMEOUT = 60.0
"""Seconds that Kong waits for an answer (``lua_socket_read_timeout``)."""

_ATTEMPTS = 5
_ATTEMPT_DELAY = 0.05

_MAX_MESSAGE = 256 * 1024 * 1024


class PluginServerRpcError(Exception):
    """The plugin server answered with an error, or did not answer."""


class ConnectionLostError(PluginServerRpcError):
    """The plugin server does not listen, or closed the connection before it answered."""


class RpcClient:
    """Calls one plugin server, over connections that are used again."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._idle: list[_Connection] = []
        self._ids = itertools.count(1)

    async def call(self, method: str, argument: Any) -> Any:
        """Send one request and return its result.

        :raises PluginServerRpcError: When the plugin server answers with an error, or not at all.
        """
        try:
            return await self._call(method, argument)
        except TimeoutError:
            raise PluginServerRpcError(f"no answer to {method} within {READ_TIMEOUT:g} s") from None
        except (OSError, EOFError) as error:
            raise ConnectionLostError(f"{method}: {error}") from error
        except (ValueError, msgpack.UnpackException) as error:
            raise PluginServerRpcError(f"{method}: {error or type(error).__name__}") from error

    async def _call(self, method: str, argument: Any) -> Any:
        connection = self._from_pool() or await _Connection.open(self._socket)
        message_id = next(self._ids)
        try:
            answer = await connection.exchange([0, message_id, method, [argument]])
        except BaseException:
            connection.close()
            raise
        if answer[0] != 1 or answer[1] != message_id:
            connection.close()
            raise PluginServerRpcError(f"unexpected message from the plugin server: {answer[:2]!r}")
        self._idle.append(connection)
        if answer[2] is not None:
            raise PluginServerRpcError(_text(answer[2]))
        return answer[3]

    def _from_pool(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                return connection
            connection.close()
        return None

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().close()


class _Connection(asyncio.Protocol):
    """One connection. A protocol and not streams, which take twice the time of a message."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: asyncio.Future[list[Any]] | None = None
        self._unpacker = msgpack.Unpacker(
            raw=False, unicode_errors="surrogateescape", max_buffer_size=_MAX_MESSAGE
        )

    @classmethod
    async def open(cls, socket: str) -> _Connection:
        _, made = await asyncio.get_running_loop().create_unix_connection(cls, socket)
        return made

    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, message: list[Any]) -> list[Any]:
        """Send a message, and return the answer to it."""
        if self._transport is None:
            raise EOFError("the plugin server closed the connection")
        self._waiting = self._loop.create_future()
        timer = self._loop.call_later(READ_TIMEOUT, self._fail, TimeoutError())
        try:
            self._transport.write(msgpack.packb(message, unicode_errors="surrogateescape"))
            return await self._waiting
        finally:
            timer.cancel()
            self._waiting = None

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            if self._transport is not None:
                self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._unpacker.feed(data)
            for answer in self._unpacker:
                # 2 is a notification, such as serverPid
                if answer[0] != 2 and self._waiting is not None and not self._waiting.done():
                    self._waiting.set_result(list(answer))
        except (ValueError, TypeError, LookupError, msgpack.UnpackException) as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(exc or EOFError("the plugin server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


class PluginInstances:
    """The plugin instances of one plugin server. Each is started when it is first needed.

    :param configuration: Returns the JSON object with which a plugin's instance is started.
    :param ready: Waits until the plugin server listens, for a limited time.
    """

    def __init__(
        self,
        client: RpcClient,
        configuration: Callable[[DeclaredPlugin], dict[str, Any]],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._client = client
        self._configuration = configuration
        self._ready = ready
        self._ids: dict[str, tuple[DeclaredPlugin, int]] = {}
        self._starting = asyncio.Lock()

    def reset(self) -> None:
        """Forget every instance, because the plugin server has ended."""
        self._ids.clear()
        self._client.close()

    async def handle_event(self, plugin: DeclaredPlugin, phase: str, pdk: SandboxPdk) -> None:
        """Run one phase of a plugin.

        A failure of the plugin server is logged and ends the phase, and the request goes on, as in
        Kong.

        :raises Exit: When the plugin ended the request.
        """
        try:
            await self._bridge_loop(await self._begin(plugin, phase), pdk)
        except PluginServerRpcError as error:
            _log.error("plugin %s: %s", plugin.name, error)

    async def _begin(self, plugin: DeclaredPlugin, phase: str) -> dict[str, Any]:
        """Begin an event, and return its first step."""
        failure = PluginServerRpcError("no plugin server")
        for _ in range(_ATTEMPTS):
            await self._ready()
            try:
                arguments = {"InstanceId": await self._instance_id(plugin), "EventName": phase}
                first: dict[str, Any] = await self._client.call("plugin.HandleEvent", arguments)
            except ConnectionLostError as error:
                # The plugin server has just died. A plugin does nothing before its first step, so
                # it is safe to try again.
                failure = error
                await asyncio.sleep(_ATTEMPT_DELAY)
            except PluginServerRpcError as error:
                if "no plugin instance" not in str(error).lower():
                    raise
                failure = error
                self._ids.clear()
            else:
                return first
        raise failure

    async def _instance_id(self, plugin: DeclaredPlugin) -> int:
        async with self._starting:
            known, identifier = self._ids.get(plugin.id, (None, 0))
            # A request that was routed before a reload still has the old configuration, and needs
            # an instance of it. An equal configuration has the same instance (`live_config.lua`).
            if known != plugin:
                status = await self._client.call(
                    "plugin.StartInstance",
                    {
                        "Name": plugin.name,
                        "Config": json.dumps(self._configuration(plugin), separators=(",", ":")),
                    },
                )
                identifier = status["Id"]
                self._ids[plugin.id] = plugin, identifier
            return identifier

    async def _bridge_loop(self, step: dict[str, Any], pdk: SandboxPdk) -> None:
        event_id = step["EventId"]
        while step["Data"] != "ret":
            method = _text(step["Data"]["Method"])
            answer = {"EventId": event_id}
            result = await _call_pdk_method(pdk, method, step["Data"].get("Args"))
            if result is not None:
                answer["Data"] = result
            step = await self._client.call("plugin.Step", answer)


async def _call_pdk_method(pdk: SandboxPdk, method: str, arguments: Any) -> Any:
    function = pdk.lookup(method)
    if function is None:
        _log.error("could not find pdk method: %s", method)
        return None
    result = function(*(arguments if isinstance(arguments, (list, tuple)) else [arguments]))
    return await result if inspect.isawaitable(result) else result


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
