"""A real Kong Gateway for the tests: the binary that ``KONG_SCIM_KONG`` names, on loopback.

    with running_postgres() as postgres, KongProcess(binary, prefix, postgres=postgres) as kong:
        httpx.get(kong.proxy_url + "/...")
        httpx.post(kong.admin_url + "/consumers", ...)

A process of its own prefix and ports, with scim-bridge and the plugin ``scim`` on its Lua path.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx
import psutil
import pytest

from ports import free_ports
from postgres import Postgres

ROOT = Path(__file__).resolve().parent.parent

requires_kong = pytest.mark.skipif(
    not os.environ.get("KONG_SCIM_KONG"),
    reason="needs a real Kong: set KONG_SCIM_KONG to the path of its binary",
)


def kong_binary() -> str:
    """The binary under test; tests that call this carry :data:`requires_kong`."""
    return os.environ["KONG_SCIM_KONG"]


class KongProcess:
    """One node of Kong.

    :param binary: Path of the ``kong`` command line.
    :param prefix: An empty directory for its files.
    :param postgres: A database for it alone (or shared with another node of one cluster). Without
        one, Kong runs DB-less.
    :param declarative: The kong.yml of a DB-less node.
    :param plugins: Beside the bundled ones.
    :param lua_path: Further directories with ``kong/plugins/...`` in them.
    :param pluginserver: Socket of the plugin server of ``scim``, and the JSON file of its dump.
    :param workers: Number of Nginx workers.
    :param env: Further ``KONG_*`` settings.
    """

    def __init__(
        self,
        binary: str,
        prefix: Path,
        *,
        postgres: Postgres | None = None,
        declarative: Path | None = None,
        plugins: Sequence[str] = ("scim-bridge",),
        lua_path: Sequence[Path] = (),
        pluginserver: tuple[Path, Path] | None = None,
        workers: int = 2,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.binary = binary
        self.prefix = prefix
        self.postgres = postgres
        proxy, tls, admin, status = free_ports(4)
        self.proxy_url = f"http://127.0.0.1:{proxy}"
        self.tls_url = f"https://127.0.0.1:{tls}"
        self.admin_url = f"http://127.0.0.1:{admin}"
        self.status_url = f"http://127.0.0.1:{status}"
        lua = [ROOT / "kong-plugins", *lua_path]
        settings = {
            "prefix": str(prefix),
            "proxy_listen": f"127.0.0.1:{proxy} reuseport, 127.0.0.1:{tls} ssl reuseport",
            "admin_listen": f"127.0.0.1:{admin}",
            "status_listen": f"127.0.0.1:{status}",
            "admin_gui_listen": "off",
            "anonymous_reports": "off",
            "nginx_worker_processes": str(workers),
            "worker_state_update_frequency": "0.1",
            "db_update_frequency": "1",
            "plugins": ",".join(["bundled", *plugins]),
            "lua_package_path": "".join(f"{path}/?.lua;{path}/?/init.lua;" for path in lua) + ";",
            "log_level": "notice",
            "database": "postgres" if postgres else "off",
        }
        if os.geteuid() == 0:  # or the workers were somebody who may not use the tests' directories
            settings["nginx_user"] = "root root"
        if postgres:
            settings |= {
                "pg_host": postgres.host,
                "pg_port": str(postgres.port),
                "pg_user": postgres.user,
                "pg_database": postgres.database,
            }
        if declarative:
            settings["declarative_config"] = str(declarative)
        if pluginserver:
            settings |= {
                "pluginserver_names": "scim",
                "pluginserver_scim_socket": str(pluginserver[0]),
                "pluginserver_scim_query_cmd": f"cat {pluginserver[1]}",
            }
        self._env = {name: value for name, value in os.environ.items() if "KONG_" not in name}
        self._env |= {f"KONG_{name.upper()}": value for name, value in settings.items()}
        self._env |= dict(env or {})

    def __enter__(self) -> KongProcess:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Migrate the database, where there is one, start and wait until the node is ready."""
        if self.postgres:
            self.run("migrations", "bootstrap")
            self.run("migrations", "up")
        self.run("start")
        self.wait()

    def stop(self) -> None:
        """Stop at once; harmless where it does not run."""
        self.run("stop", check=False)

    def kill(self) -> None:
        """Kill the master and every worker with SIGKILL."""
        processes = [self._master(), *self.workers()]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, 30)

    def restart(self) -> None:
        """Stop and start again, on the same ports and data."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Replace the workers gracefully, and wait until the old ones are gone."""
        old = {worker.pid for worker in self.workers()}
        self.run("reload")
        _poll(lambda: not old & {worker.pid for worker in self.workers()}, "the old workers to end")
        self.wait()

    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        return [each for each in self._master().children() if "worker process" in _name(each)]

    def _master(self) -> psutil.Process:
        return psutil.Process(int((self.prefix / "pids" / "nginx.pid").read_text()))

    def kill_worker(self) -> int:
        """Kill one worker with SIGKILL; its master starts another. Answers the pid."""
        worker = self.workers()[0]
        worker.kill()
        return int(worker.pid)

    def log(self) -> str:
        """Kong's error log so far."""
        return (self.prefix / "logs" / "error.log").read_text(errors="replace")

    def wait(self) -> None:
        """Wait until every worker has its configuration and serves."""

        def ready() -> bool:
            try:
                return (
                    httpx.get(
                        self.status_url + "/status/ready", verify=False, timeout=5
                    ).status_code
                    == 200
                )
            except httpx.TransportError:
                return False

        _poll(ready, "Kong to be ready")

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run a command of Kong's command line with this node's settings; answers its output."""
        done = subprocess.run(
            [self.binary, *arguments],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,  # migrations on a busy machine
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"kong {' '.join(arguments)}: {done.stdout}")
        return done.stdout


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _poll(condition: object, what: str, seconds: float = 30) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)
