"""The processes of the sandbox as a host of tests, and plugin servers.

See :mod:`hosts` for what a test gets of them, and :mod:`kong_processes` for a real Kong.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil
import yaml

from consumer_groups import OPEN_SOURCE
from kong_scim_sandbox.gateway import CHANNEL
from on_clock import VARIABLE, Clock
from ports import free_ports
from with_variants import PATH as ROUTES_AND_PLUGINS

HERE = Path(__file__).resolve().parent
"""Where Lua plugins of the tests are."""

TOKENS = {"scim-token-a": "token-of-tenant-a", "scim-token-b": "token-of-tenant-b"}
"""The bearer tokens of the tenants, by the name of their vault reference."""

PATIENCE = 60.0
"""Seconds until something that should happen soon is given up."""

ENVIRONMENT = {name.replace("-", "_").upper(): value for name, value in TOKENS.items()}
"""The variables of every gateway with these tokens."""


def eventually(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait until a condition holds.

    :raises TimeoutError: With what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)


class Host(Protocol):
    """A gateway with the plugin server beside it.

    :ivar proxy_urls: Of each node.
    :ivar dbless: Whether the gateway has no database.
    :ivar is_settled: Whether each node had what was written at the last :meth:`settle`, and nothing
        was written since.
    :ivar sqlite: Where the SCIM tables are, unless in PostgreSQL.
    :ivar postgres: The database, unless there is none.
    :ivar open_source: Whether it lacks the consumer groups of Kong Enterprise.
    """

    name: str
    proxy_urls: list[str]
    admin_url: str
    dbless: bool
    is_settled: bool
    sqlite: Path | None
    postgres: Any
    open_source: bool

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...
    def kill_gateway(self) -> None: ...
    def kill_plugin_server(self) -> None: ...
    def settle(self) -> None: ...
    def plugin_server(self) -> psutil.Process: ...
    def log(self) -> str: ...


class SandboxHost:
    """The sandbox as a process of its own, on the same ports and data through restarts."""

    postgres = None
    is_settled = True

    def __init__(
        self,
        directory: Path,
        content: dict[str, Any],
        *,
        database: str = "sqlite",
        ticks: bool = True,
        clock: Clock | None = None,
        open_source: bool = False,
    ) -> None:
        self.name = "sandbox" if database == "sqlite" else f"sandbox-{database}"
        self._database = database
        dbless = database == "off"
        self._module = "with_variants" if ticks else "without_ticks"
        self._environment = {**ENVIRONMENT}
        if clock is not None:
            self._module, self._environment[VARIABLE] = "on_clock", str(clock.path)
        self.open_source = open_source or self._module != "with_variants"
        if open_source:
            self._environment[OPEN_SOURCE] = "1"
        self.dbless = dbless
        self._directory = directory
        self._config = directory / "kong.yml"
        self._config.write_text(yaml.safe_dump(content))
        data = directory / "data"
        self.sqlite = data / "plugin-server" / "scim.sqlite" if dbless else data / "sandbox.sqlite"
        self._ports = free_ports(2)
        self._process: subprocess.Popen[str] | None = None
        proxy, self.admin_url = (f"http://127.0.0.1:{port}" for port in self._ports)
        self.proxy_urls = [proxy]

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
                    *(sys.executable, "-m", self._module, "sandbox"),
                    *("--config", str(self._config), "--data", str(self._directory / "data")),
                    *("--port", str(self._ports[0]), "--admin-port", str(self._ports[1])),
                    "--no-console",
                    *("--database", self._database),
                ],
                env={
                    **os.environ,
                    **self._environment,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"the sandbox does not start: {self.log()[-2000:]}")

    def configure(self, content: dict[str, Any]) -> None:
        """Have other routes and plugins from now on; consumers stay as they are."""
        text = yaml.safe_dump({k: v for k, v in content.items() if k != "consumers"})
        self._config.write_text(text)
        httpx.post(
            self.admin_url + ROUTES_AND_PLUGINS, verify=False, content=text
        ).raise_for_status()

    def stop(self) -> None:
        """Stop it in an orderly way."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def close(self) -> None:
        """Stop it; there is nothing else."""
        self.stop()

    def settle(self) -> None:
        """Wait until the data plane of a hybrid sandbox has what its control plane has now."""
        if not self.is_settled and self._database == "hybrid":
            self.connect(True)
        self.is_settled = True

    def connect(self, connected: bool) -> None:
        """Cut the channel of a hybrid sandbox, or open it again."""
        answer = httpx.put(self.admin_url + CHANNEL, json={"connected": connected}, verify=False)
        answer.raise_for_status()

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
        pid = self._plugin_server_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def plugin_server(self) -> psutil.Process:
        """Return the plugin server that runs."""
        return psutil.Process(self._plugin_server_pid())

    def _plugin_server_pid(self) -> int | None:
        status: dict[str, Any] = httpx.get(self.admin_url + "/status", verify=False).json()
        pid: int | None = status["plugin_server"]["pid"]
        return pid

    def log(self) -> str:
        """Return what the sandbox wrote so far."""
        return (self._directory / "sandbox.log").read_text()


class PluginServer:
    """A plugin server as a process of its own."""

    def __init__(
        self, directory: Path, number: int, data: Path | None, clock: Clock | None
    ) -> None:
        self._module = "on_clock" if clock else "kong_scim.pluginserver"
        self._environment = {VARIABLE: str(clock.path)} if clock else {}
        self.socket = directory / f"plugin-{number}.sock"
        self.dump = directory / f"plugin-{number}.json"
        self._log = directory / f"plugin-server-{number}.log"
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = [sys.executable, "-m", self._module]
        environment = {
            "KONG_SCIM_PROCESSES": "1",
            **os.environ,
            **self._environment,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        if not self.dump.exists():
            done = subprocess.run(
                [*command, "--dump"], capture_output=True, check=True, env=environment
            )
            self.dump.write_bytes(done.stdout)
        data = ["--data", str(self._data)] if self._data else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--socket", str(self.socket), *data],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)

    def log(self) -> str:
        return self._log.read_text(errors="replace")
