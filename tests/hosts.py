"""The hosts that the contract tests run against: the sandbox, and a real Kong with PostgreSQL.

Both serve the same declarative content: the plugin ``scim`` for two tenants, and an API that shows
what becomes of people. See :class:`Gateway` for what a test gets.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil
import yaml

ROOT = Path(__file__).resolve().parent.parent

TOKENS = {"scim-token-a": "token-of-tenant-a", "scim-token-b": "token-of-tenant-b"}
"""The bearer tokens of the tenants, by the name of their vault reference."""

GROUP = "employees"
"""The ACL group that may use the API at ``/echo``."""

PATIENCE = 60.0
"""Seconds until something that should happen soon is given up."""

_ENVIRONMENT = {name.replace("-", "_").upper(): value for name, value in TOKENS.items()}


def eventually(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait until a condition holds.

    :raises TimeoutError: With what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def scim_plugin(tenant: str, reference: str, **config: Any) -> dict[str, Any]:
    """Return the plugin ``scim`` as it stands in a declarative file."""
    tokens = [{"name": "idp", "value": f"{{vault://env/{reference}}}"}]
    return {
        "name": "scim",
        "config": {"tenant": tenant, "require_https": False, "tokens": tokens, **config},
    }


def declaration(upstream: str, **config: Any) -> dict[str, Any]:
    """Return the declarative content of every host.

    :param upstream: The URL behind the API.
    :param config: Of the plugin ``scim`` of tenant ``a``, beside its token.
    """
    acl = {"name": "acl", "config": {"allow": [GROUP]}}
    return {
        "_format_version": "3.0",
        "plugins": [{"name": "scim-bridge"}],
        "routes": [
            {
                "name": "scim-a",
                "paths": ["/scim/v2"],
                "plugins": [scim_plugin("a", "scim-token-a", **config)],
            },
            {
                "name": "scim-b",
                "paths": ["/other/scim/v2"],
                "plugins": [scim_plugin("b", "scim-token-b")],
            },
        ],
        "services": [
            {
                "name": "echo",
                "url": upstream,
                "routes": [
                    {"name": "echo", "paths": ["/echo"], "plugins": [{"name": "key-auth"}, acl]},
                    # Behind no acl: what it answers is up to the credential and the guard alone.
                    {"name": "keyed", "paths": ["/keyed"], "plugins": [{"name": "key-auth"}]},
                ],
            }
        ],
    }


class Host(Protocol):
    """A gateway process with the plugin server beside it."""

    name: str
    proxy_url: str
    admin_url: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill_gateway(self) -> None: ...
    def kill_plugin_server(self) -> None: ...


class Gateway:
    """A running gateway, as a test sees it.

    :ivar name: ``sandbox`` or ``kong-postgres``.
    :ivar scim: SCIM client of tenant ``a``, with its token.
    :ivar other_scim: SCIM client of tenant ``b``: another identity provider on another route.
    :ivar admin: Client of the Admin API.
    :ivar api: Client of the proxy: ``/echo`` wants a key and the group ``employees``, ``/keyed`` a
        key only.
    :ivar host: The processes; on Kong also ``host.kong`` and ``host.postgres``.
    """

    def __init__(self, host: Host, path: str = "/scim/v2") -> None:
        self.host = host
        self.name = host.name
        self.scim_base = host.proxy_url + path
        self.token = TOKENS["scim-token-a"]
        self.other_base = host.proxy_url + "/other/scim/v2"
        self.scim = scim_client(self.scim_base, self.token)
        self.other_scim = scim_client(self.other_base, TOKENS["scim-token-b"])
        self.admin = httpx.Client(base_url=host.admin_url, timeout=30, trust_env=False)
        self.api = httpx.Client(base_url=host.proxy_url, timeout=30, trust_env=False)

    def close(self) -> None:
        """Close the clients; the host goes on."""
        for client in (self.scim, self.other_scim, self.admin, self.api):
            client.close()

    def clear(self) -> None:
        """Delete every SCIM resource of both tenants, and every consumer."""
        for client in (self.scim, self.other_scim):
            for kind in ("/Groups", "/Users"):
                for resource in everything(client, kind):
                    client.delete(f"{kind}/{resource['id']}").raise_for_status()
        for consumer in self.consumers():
            self.admin.delete(f"/consumers/{consumer['id']}").raise_for_status()

    def consumers(self) -> list[dict[str, Any]]:
        """Return every consumer of the gateway."""
        found: list[dict[str, Any]] = []
        page: str | None = "/consumers?size=1000"
        while page:
            answer = self.admin.get(page).raise_for_status().json()
            found += answer["data"]
            page = answer["next"]
        return found

    def consumer(self, name: str) -> dict[str, Any] | None:
        """Return a consumer by its id or username, or None."""
        answer = self.admin.get(f"/consumers/{name}")
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    def groups_of(self, consumer: str) -> set[str]:
        """Return the ACL groups of a consumer, by its id or username."""
        answer = self.admin.get(f"/consumers/{consumer}/acls?size=1000").raise_for_status()
        return {acl["group"] for acl in answer.json()["data"]}

    def give_key(self, consumer: str, key: str | None = None) -> str:
        """Give a consumer an API key, and return it."""
        body = {} if key is None else {"key": key}
        answer = self.admin.post(f"/consumers/{consumer}/key-auth", json=body).raise_for_status()
        made: str = answer.json()["key"]
        return made

    def call(self, key: str, path: str = "/echo") -> httpx.Response:
        """Call an API with a key."""
        return self.api.get(path, headers={"apikey": key})

    def wait(self) -> None:
        """Wait until the plugin answers."""

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                clients = (self.scim, self.other_scim)
                return all(_served(client.get("/ServiceProviderConfig")) for client in clients)
            return False

        eventually(answers, f"the plugin on {self.name}")

    def kill_plugin_server(self) -> None:
        """Kill the plugin server with SIGKILL. A new one is started; see :meth:`wait`."""
        self.host.kill_plugin_server()

    def kill_gateway(self) -> None:
        """Kill one of Kong's workers, or the sandbox, with SIGKILL; it is started again."""
        self.host.kill_gateway()

    def restart(self) -> None:
        """Stop the gateway and its plugin server, start both on the same data, and wait."""
        self.host.stop()
        self.host.start()
        self.wait()


def _served(answer: httpx.Response) -> bool:
    """Whether the plugin itself gave an answer, if only to say what is wrong with it."""
    scim = answer.headers.get("content-type", "").startswith("application/scim+json")
    return scim and "plugin server does not answer" not in answer.text


def scim_client(base: str, token: str) -> httpx.Client:
    """Return a client of a SCIM endpoint."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=base, headers=headers, timeout=60, trust_env=False)


def everything(client: httpx.Client, kind: str) -> list[dict[str, Any]]:
    """Return all resources of a type, such as ``/Users``, with their ids only."""
    found: list[dict[str, Any]] = []
    while True:
        query: dict[str, Any] = {"startIndex": len(found) + 1, "attributes": "id"}
        answer = client.get(kind, params=query).raise_for_status().json()
        found += answer.get("Resources", [])
        if len(found) >= answer["totalResults"] or not answer.get("Resources"):
            return found


class SandboxHost:
    """The sandbox as a process of its own, on the same ports and data through restarts."""

    name = "sandbox"

    def __init__(self, directory: Path, content: dict[str, Any]) -> None:
        self._directory = directory
        self._config = directory / "kong.yml"
        self._config.write_text(yaml.safe_dump(content))
        self.database = directory / "data" / "sandbox.sqlite"
        self._ports = (free_port(), free_port())
        self._process: subprocess.Popen[str] | None = None
        self.proxy_url, self.admin_url = (f"http://127.0.0.1:{port}" for port in self._ports)

    @property
    def pid(self) -> int:
        """The process id of the sandbox."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until both ports answer."""
        with (self._directory / "sandbox.log").open("a") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "kong_scim.cli.main", "sandbox"),
                    *("--config", str(self._config), "--data", str(self._directory / "data")),
                    *("--port", str(self._ports[0]), "--admin-port", str(self._ports[1])),
                ],
                env={**os.environ, **_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"the sandbox does not start: {self.log()[-2000:]}")

    def stop(self) -> None:
        """Stop it in an orderly way."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def kill_gateway(self) -> None:
        """Kill it, and start it again."""
        assert self._process is not None
        left = psutil.Process(self.pid).children(recursive=True)
        self._process.kill()
        self._process.wait(PATIENCE)
        psutil.wait_procs(left, PATIENCE)
        self.start()

    def kill_plugin_server(self) -> None:
        """Kill the plugin server; the sandbox starts another one."""
        pid = httpx.get(self.admin_url + "/status").json()["plugin_server"]["pid"]
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def log(self) -> str:
        """Return what the sandbox wrote so far."""
        return (self._directory / "sandbox.log").read_text()


class KongHost:
    """A real Kong with two workers and PostgreSQL, and the plugin server as its own process."""

    name = "kong-postgres"

    def __init__(self, directory: Path, content: dict[str, Any]) -> None:
        from kong_process import KongProcess, kong_binary
        from postgres import running_postgres

        self._directory = directory
        self._content = content
        self._stack = contextlib.ExitStack()
        self.postgres = self._stack.enter_context(running_postgres()).new_database("kong")
        self._socket = directory / "plugin.sock"
        self._dump = directory / "plugin.json"
        self._plugin_server: subprocess.Popen[bytes] | None = None
        self._imported = False
        self.kong = KongProcess(
            kong_binary(),
            directory / "kong",
            postgres=self.postgres,
            plugins=("scim", "scim-bridge"),
            pluginserver=(self._socket, self._dump),
            env=_ENVIRONMENT,
        )
        self.proxy_url, self.admin_url = self.kong.proxy_url, self.kong.admin_url

    def start(self) -> None:
        """Start both; the declarative content is imported the first time."""
        command = [sys.executable, "-m", "kong_scim.pluginserver"]
        self._dump.write_bytes(
            subprocess.run([*command, "--dump"], capture_output=True, check=True).stdout
        )
        self._start_plugin_server()
        if not self._imported:
            config = self._directory / "kong.yml"
            config.write_text(yaml.safe_dump(self._content))
            self.kong.run("migrations", "bootstrap")
            self.kong.run("migrations", "up")
            self.kong.run("config", "db_import", str(config))
            self._imported = True
        self.kong.start()

    def stop(self) -> None:
        """Stop both; the database stays."""
        self.kong.stop()
        if self._plugin_server is not None:
            self._plugin_server.terminate()
            self._plugin_server.wait(PATIENCE)
            self._plugin_server = None

    def close(self) -> None:
        """Stop all, and remove the database."""
        self.stop()
        self._stack.close()

    def kill_gateway(self) -> None:
        """Kill one worker; its master starts another."""
        self.kong.kill_worker()

    def kill_plugin_server(self) -> None:
        """Kill the plugin server, and start another, as Docker would."""
        assert self._plugin_server is not None
        self._plugin_server.kill()
        self._plugin_server.wait(PATIENCE)
        self._start_plugin_server()

    def _start_plugin_server(self) -> None:
        with (self._directory / "plugin-server.log").open("ab") as log:
            self._plugin_server = subprocess.Popen(
                [sys.executable, "-m", "kong_scim.pluginserver", "--socket", str(self._socket)],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )


@contextlib.contextmanager
def running_host(name: str, **config: Any) -> Iterator[Host]:
    """Run a host of its own, with an empty store, until the end of the block.

    :param name: ``sandbox`` or ``kong-postgres``.
    :param config: Of the plugin ``scim`` of tenant ``a``.
    """
    directory = Path(tempfile.mkdtemp(prefix="scim-host-"))
    with echo_server() as upstream:
        content = declaration(upstream, **config)
        host: SandboxHost | KongHost
        host = (SandboxHost if name == "sandbox" else KongHost)(directory, content)
        try:
            host.start()
            yield host
        finally:
            host.stop()
            if isinstance(host, KongHost):
                host.close()
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def running_gateway(name: str, **config: Any) -> Iterator[Gateway]:
    """Run a host of its own with clients, and wait until its plugin answers."""
    with running_host(name, **config) as host, contextlib.closing(Gateway(host)) as gateway:
        gateway.wait()
        yield gateway


@contextlib.contextmanager
def variant(gateway: Gateway, **config: Any) -> Iterator[Gateway]:
    """Run tenant ``a`` with another configuration of the plugin, beside the given gateway.

    On Kong it is one more route of the same node, so that no test waits for another Kong.
    """
    if gateway.name == "sandbox":
        with running_gateway(gateway.name, **config) as other:
            yield other
        return
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]
    path = f"/v-{digest}/scim/v2"
    route = {"name": f"scim-{digest}", "paths": [path]}
    gateway.admin.post("/routes", json=route).raise_for_status()
    plugin = scim_plugin(f"v-{digest}", "scim-token-a", **config)
    gateway.admin.post(f"/routes/{route['name']}/plugins", json=plugin).raise_for_status()
    with contextlib.closing(Gateway(gateway.host, path)) as other:
        _wait_for_route(other)
        yield other


def _wait_for_route(gateway: Gateway) -> None:
    """Wait until every worker has the route: each connection may reach another one."""

    def on_every_worker() -> bool:
        url = f"{gateway.scim_base}/ServiceProviderConfig"
        return all(_served(httpx.get(url)) for _ in range(12))

    eventually(on_every_worker, "the route on every worker")


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        seen = {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextlib.contextmanager
def echo_server() -> Iterator[str]:
    """Run an upstream that answers with what it saw, and yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
