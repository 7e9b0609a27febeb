"""The sandbox as a whole: both ports, the plugin server and the store, from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import uvicorn
import uvloop
from starlette.requests import Request
from starlette.responses import Response

from kong_scim.cli import vault
from kong_scim.console import serving
from kong_scim.console.forwarding import GatewayClient
from kong_scim.console.server import Console
from kong_scim_sandbox.admin import admin_api
from kong_scim_sandbox.declarative import Declaration, DeclarationError, load
from kong_scim_sandbox.entities import WORKSPACE
from kong_scim_sandbox.exchange import SERVER
from kong_scim_sandbox.http_protocol import HttpProtocol
from kong_scim_sandbox.hybrid import Hybrid
from kong_scim_sandbox.mp_rpc import PluginInstances, RpcClient
from kong_scim_sandbox.node import Node, scim_plugins
from kong_scim_sandbox.plugin_process import PluginProcess
from kong_scim_sandbox.plugins import DeclaredPlugin
from kong_scim_sandbox.proxy import Proxy
from kong_scim_sandbox.router import Router
from kong_scim_sandbox.store import Store
from kong_scim_sandbox.upstream import Upstreams

HOST = "127.0.0.1"
"""The address where both ports listen. It is loopback, as the Admin API has no authentication."""

ECHO_HOST = "echo"

FIRST_LINE = "This is the Kong SCIM sandbox. It is no Kong: try and test with it, never run it."

CHANNEL = "/channel"
"""The path of the Admin API where ``{"connected": false}`` cuts the channel of a hybrid sandbox."""

_DATABASE = "sandbox.sqlite"
_DATA_PLANE = "data-plane.sqlite"
_PLUGIN_SERVER = "plugin-server"
_SQLITE_THREADS = 32
"""Threads for SQLite. Kong too has a connection for each request, so that none waits."""

_SWITCH_INTERVAL = 0.0005
"""Seconds of Python's thread switch interval, as in the plugin server, so that the event loop does
not wait for 5 ms each time that a thread commits."""

_GRACE = 5
_BACKLOG = 1024


@dataclass(frozen=True)
class Options:
    """The options of ``kong-scim sandbox``.

    :param config: The declarative file; None for the one that comes with the sandbox.
    :param port: The proxy port; 0 for a free one.
    :param admin_port: The port of the Admin API; 0 for a free one.
    :param data: The directory that keeps all data; None for one that is removed at the end.
    :param database: ``sqlite`` for a Kong with a database, ``off`` for a DB-less Kong, of whose
        data only the plugin server's part lasts, or ``hybrid`` for a data plane with its control
        plane.
    :param token: The value for the first token of the first SCIM plugin; None to make one.
    :param echo: Whether the sandbox itself answers for services at host ``echo``.
    :param console_port: The port of the console; 0 for a free one, None for no console.
    """

    config: Path | None = None
    port: int = 8000
    admin_port: int = 8001
    data: Path | None = None
    database: Literal["sqlite", "off", "hybrid"] = "sqlite"
    token: str | None = None
    echo: bool = True
    console_port: int | None = None


def run(options: Options, write: Callable[[str], None]) -> None:
    """Run the sandbox until SIGTERM or SIGINT.

    :param write: Writes the greeting, once both ports answer.
    :raises DeclarationError: When the declarative file cannot be used.
    :raises OSError: When a port or the data directory cannot be used.
    :raises ~.plugin_process.PluginServerError: When the plugin server does not start.
    """
    declaration = _declaration(options.config)
    tokens = _tokens(declaration, options.token)
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(serving.listen(port, _BACKLOG))
            for port in (options.port, options.admin_port)
        ]
        data = stack.enter_context(_data_directory(options.data))
        # The path of --data may be too long for a unix socket.
        private = stack.enter_context(tempfile.TemporaryDirectory(prefix="kong-scim-"))
        dbless, hybrid = options.database == "off", None
        if options.database == "hybrid":
            hybrid = Hybrid(data / _DATABASE, data / _DATA_PLANE)
            stack.callback(hybrid.close)
            hybrid.declare(declaration.consumers)
            store = hybrid.data_plane
        else:
            store = Store(Path(private if dbless else data) / _DATABASE, dbless=dbless)
            stack.callback(store.close)
            (store.load if dbless else store.declare)(declaration.consumers)
        ports = [bound.getsockname()[1] for bound in sockets]
        console = _console(declaration, options.console_port, ports[0], write)
        if console is not None:
            stack.enter_context(console.bound)
        sandbox = _Sandbox(
            declaration=declaration,
            store=store,
            hybrid=hybrid,
            process=PluginProcess(
                Path(private) / "plugin.sock",
                options=["--data", str(data / _PLUGIN_SERVER)] if dbless else [],
            ),
            port=ports[0],
            echo=options.echo,
            console=console,
        )
        sys.setswitchinterval(_SWITCH_INTERVAL)
        greeting = [FIRST_LINE, *_greeting(declaration, tokens, ports[0], ports[1], console)]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(sandbox.run(sockets, lambda: write("\n".join(greeting))))


def default_config() -> str:
    """Return the declarative file that comes with the sandbox."""
    return files("kong_scim_sandbox").joinpath("kong.yml").read_text()


@dataclass
class _Sandbox:
    declaration: Declaration
    store: Store
    hybrid: Hybrid | None
    process: PluginProcess
    port: int
    echo: bool
    console: _BoundConsole | None

    async def run(self, sockets: Sequence[socket.socket], started: Callable[[], object]) -> None:
        """Serve the proxy and the admin port until a signal."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        client = RpcClient(self.process.socket)
        instances = PluginInstances(client, self._instance_config, self.process.ready)
        self.process.ended = instances.reset
        upstreams = Upstreams(ECHO_HOST if self.echo else None)
        metrics = self.store.bridge.metrics
        metrics.observed = _declares(self.declaration, "prometheus")
        self._configure_bridges()
        try:
            await self.process.start()
            with ThreadPoolExecutor(_SQLITE_THREADS, thread_name_prefix="sqlite") as executor:
                node = Node(
                    self.declaration,
                    instances,
                    self.store,
                    executor,
                    listens=lambda: self.process.pid is not None,
                )
                proxy = Proxy(
                    router=Router(self.declaration.routes),
                    instances=instances,
                    store=self.store,
                    upstreams=upstreams,
                    executor=executor,
                    node_id=node.id,
                    port=self.port,
                )

                def configure(declaration: Declaration) -> None:
                    self.declaration = node.declaration = declaration
                    proxy.router = Router(declaration.routes)
                    metrics.observed = _declares(declaration, "prometheus")
                    self._configure_bridges()

                api = admin_api(self._written, self._status, node, configure, metrics)
                if self.hybrid:
                    api.add_route(CHANNEL, _channel(self.hybrid), methods=["PUT"])
                try:
                    await self._serve([proxy, api], sockets, stop, started)
                finally:
                    await node.stop()
        finally:
            client.close()
            await self.process.stop()
            await upstreams.close()

    @property
    def _written(self) -> Store:
        """The store that the Admin API writes."""
        return self.hybrid.control_plane if self.hybrid else self.store

    def _configure_bridges(self) -> None:
        for store in {self.store, self._written}:
            store.bridge.configure(**self.declaration.rows())

    async def _serve(
        self,
        applications: Sequence[Any],
        sockets: Sequence[socket.socket],
        stop: asyncio.Event,
        started: Callable[[], object],
    ) -> None:
        servers = [_server(application) for application in applications]
        if self.console is not None:
            servers.append(_Server(serving.config(self.console.served.app)))
            sockets = [*sockets, self.console.bound]
        running = [
            asyncio.create_task(server.serve(sockets=[bound]))
            for server, bound in zip(servers, sockets, strict=True)
        ]
        started()
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([stopped, *running], return_when=asyncio.FIRST_COMPLETED)
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*running)
        stopped.cancel()

    def _instance_config(self, plugin: DeclaredPlugin) -> dict[str, Any]:
        (route,) = (route for route, each in scim_plugins(self.declaration) if each.id == plugin.id)
        return {
            **vault.resolved(plugin.config),
            "__seq__": 1,
            "__plugin_id": plugin.id,
            "__key__": f"plugins:{plugin.name}:{route.id}::::{WORKSPACE}",
            "__ws_id": WORKSPACE,
            "route_id": route.id,
        }

    def _status(self) -> dict[str, Any]:
        return {"server": SERVER, "plugin_server": {"pid": self.process.pid}}


def _channel(hybrid: Hybrid) -> Callable[[Request], Awaitable[Response]]:
    async def change(request: Request) -> Response:
        hybrid.connect((await request.json())["connected"])
        if hybrid.connected:
            await asyncio.to_thread(hybrid.copy_configuration)
            await asyncio.to_thread(hybrid.data_plane.bridge.await_events)
        return Response(status_code=204)

    return change


def _declares(declaration: Declaration, plugin: str) -> bool:
    return any(each.name == plugin for route in declaration.routes for each in route.plugins)


def _declaration(config: Path | None) -> Declaration:
    if config is None:
        return load(default_config(), "the sandbox's own kong.yml")
    try:
        return load(config.read_text(), str(config))
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{config}: {error}") from error


def _tokens(declaration: Declaration, wanted: str | None) -> dict[str, str]:
    """Return the first token of each SCIM plugin as the greeting shows it, by the plugin's id.

    If it is a vault reference without a value, one is made and put into the environment.
    """
    made: set[str] = set()
    shown: dict[str, str] = {}
    for _, plugin in scim_plugins(declaration):
        tokens = plugin.config["tokens"]
        reference = tokens[0].get("value") if tokens else None
        name = vault.variable(str(reference)) if vault.is_reference(reference) else None
        if name is None:
            shown[plugin.id] = "(as in the declarative file)"
            continue
        if wanted is not None and not shown:
            os.environ[name] = wanted
            made.add(name)
        if name not in os.environ:
            os.environ[name] = secrets.token_urlsafe(24)
            made.add(name)
        shown[plugin.id] = os.environ[name] if name in made else f"(as in the environment, {name})"
    if wanted is not None and not made:
        raise DeclarationError(
            "--token needs a token that is a reference in the declarative file, such as "
            '`value: "{vault://env/scim-token}"`'
        )
    return shown


def _greeting(
    declaration: Declaration,
    tokens: dict[str, str],
    port: int,
    admin_port: int,
    console: _BoundConsole | None,
) -> Iterator[str]:
    for index, (route, plugin) in enumerate(scim_plugins(declaration)):
        path = (route.paths or ("",))[0]
        tenant = f" of tenant {plugin.config.get('tenant', 'default')}" if index else ""
        yield f"SCIM base URL{tenant}: http://{HOST}:{port}{path}"
        yield f"SCIM token{tenant}: {tokens[plugin.id]}"
        if console is not None and index == 0:
            yield f"Console: {console.served.link()}"
    yield f"Proxy: http://{HOST}:{port}"
    yield f"Admin API: http://{HOST}:{admin_port}"


@dataclass(frozen=True)
class _BoundConsole:
    served: Console
    bound: socket.socket


def _console(
    declaration: Declaration, port: int | None, proxy_port: int, write: Callable[[str], None]
) -> _BoundConsole | None:
    """Return the console of the first tenant, or None if the file does not say its token."""
    route, plugin = next(iter(scim_plugins(declaration)), (None, None))
    if port is None or route is None or plugin is None:
        return None
    tokens = vault.resolved(plugin.config)["tokens"]
    token = tokens[0].get("value") if tokens else None
    if not token:
        return None
    bound = serving.listen(port)
    gateway = GatewayClient(f"http://{HOST}:{proxy_port}{(route.paths or ('',))[0]}", token)
    served = Console(
        gateway, bound.getsockname()[1], lambda link: write(f"Another browser: {link}")
    )
    return _BoundConsole(served, bound)


@contextlib.contextmanager
def _data_directory(data: Path | None) -> Iterator[Path]:
    if data is None:
        with tempfile.TemporaryDirectory(prefix="kong-scim-data-") as directory:
            yield Path(directory)
    else:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield data


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the sandbox, which stops both servers."""
        yield


def _server(application: Any) -> _Server:
    return _Server(serving.config(application, grace=_GRACE, http=HttpProtocol, backlog=_BACKLOG))


def log_to_stderr() -> None:
    """Write the log of the sandbox and of plugins to stderr, from level INFO on."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s [%(levelname)s] %(message)s"
    )
    for chatty in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
