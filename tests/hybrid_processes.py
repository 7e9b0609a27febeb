"""The processes of a hybrid Kong: control planes on one PostgreSQL, data planes, plugin servers.

See :mod:`hosts` for what a test gets of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from host_processes import ENVIRONMENT, HERE, PluginServer, eventually
from kong_process import KongProcess, kong_binary
from kong_processes import KongNodes
from on_clock import Clock
from ports import free_ports

MARKER = "settled"
"""The route whose path shows which configuration a data plane has."""

CONNECTIONS = 6
"""So many new connections to a data plane reach each of its workers, nearly always."""

REVIEW = 0.2

UPDATE_FREQUENCY = "0.1"
"""``db_update_frequency`` of control planes: the pause between two configurations."""


class HybridHost(KongNodes):
    """A hybrid Kong of two data planes, each of two workers.

    :param deltas: Whether data planes fetch the changes of the configuration
        (``cluster_incremental_sync``), and not the whole.
    :param settings: Further variables of the environment of each node.
    :param control_planes: How many. Data planes are connected to them in turn, and the Admin API is
        that of the first.
    :ivar open_source: Whether it lacks the consumer groups of Kong Enterprise.
    :ivar is_settled: Whether nothing was written since :meth:`settle`.
    :ivar kong: The first data plane.
    :ivar nodes: All data planes.
    """

    dbless = False
    sqlite = None

    def __init__(
        self,
        directory: Path,
        content: dict[str, Any],
        *,
        deltas: bool,
        settings: Mapping[str, str] | None = None,
        ticks: bool = True,
        clock: Clock | None = None,
        control_planes: int = 1,
        open_source: bool = False,
    ) -> None:
        marker = {"name": MARKER, "paths": [f"/{MARKER}-0"]}
        marked = {**content, "routes": [*content["routes"], marker]}
        super().__init__(directory, marked, ticks=ticks, open_source=open_source)
        self.name = "kong-hybrid-deltas" if deltas else "kong-hybrid"
        self._directory = directory
        self._settled = 0
        self.is_settled = False
        self._certificate = directory / "cluster.crt", directory / "cluster.key"
        self._shared = {
            **ENVIRONMENT,
            "KONG_CLUSTER_CERT": str(self._certificate[0]),
            "KONG_CLUSTER_CERT_KEY": str(self._certificate[1]),
            "KONG_CLUSTER_RPC": "on",
            "KONG_CLUSTER_INCREMENTAL_SYNC": "on" if deltas else "off",
        }
        self.plugin_servers = [PluginServer(directory, number, None, clock) for number in range(2)]
        self.postgres = self._new_database()
        ports = [free_ports(2) for _ in range(control_planes)]
        self.control_planes = [
            self._node(
                f"control-{number}",
                None,
                {
                    "KONG_ROLE": "control_plane",
                    "KONG_CLUSTER_LISTEN": f"127.0.0.1:{cluster}",
                    "KONG_CLUSTER_TELEMETRY_LISTEN": f"127.0.0.1:{telemetry}",
                    "KONG_DB_UPDATE_FREQUENCY": UPDATE_FREQUENCY,
                    **(settings or {}),
                },
                postgres=self.postgres,
            )
            for number, (cluster, telemetry) in enumerate(ports)
        ]
        self.nodes = [
            self._node(
                f"data-{number}",
                server,
                {
                    "KONG_ROLE": "data_plane",
                    "KONG_ADMIN_LISTEN": "off",
                    "KONG_CLUSTER_CONTROL_PLANE": f"127.0.0.1:{ports[number % len(ports)][0]}",
                    "KONG_LUA_SSL_TRUSTED_CERTIFICATE": str(self._certificate[0]),
                    **(settings or {}),
                },
            )
            for number, server in enumerate(self.plugin_servers)
        ]
        self.kong = self.nodes[0]
        self.proxy_urls = [node.proxy_url for node in self.nodes]
        self.admin_url = self.control_planes[0].admin_url

    def _node(
        self, name: str, server: PluginServer | None, settings: Mapping[str, str], **options: Any
    ) -> KongProcess:
        return KongProcess(
            kong_binary(),
            self._directory / name,
            plugins=self._plugins,
            lua_path=[HERE],
            pluginserver=(server.socket, server.dump) if server else None,
            env={**self._shared, **settings},
            **options,
        )

    def start(self) -> None:
        """Start all; the declarative content is imported the first time."""
        first = self.control_planes[0]
        for server in self.plugin_servers:
            server.start()
        if not self._certificate[0].exists():
            first.run("hybrid", "gen_cert", *map(str, self._certificate))
        self._import(first)
        self._await_plugin_servers()
        for node in self.control_planes:
            node.start()
        # A data plane that fetches changes is ready when there is one, and an import is none.
        self._mark(self._settled)
        for node in self.nodes:
            node.start()

    def settle(self) -> None:
        """Wait until each data plane has what the control plane has now."""
        if self.is_settled:
            return
        self.is_settled = True
        self._settled += 1
        path = self._mark(self._settled)

        def has(node: str) -> bool:
            try:
                answer = httpx.get(node + path, verify=False)
            except httpx.TransportError:
                return False
            return answer.status_code != httpx.codes.NOT_FOUND

        for node in self.proxy_urls:
            eventually(
                lambda node=node: all(has(node) for _ in range(CONNECTIONS)),  # type: ignore[misc]
                "the configuration on each data plane",
            )
        # Right after it, the first worker lets those in who got access back. Nothing shows when.
        time.sleep(REVIEW)

    def _mark(self, number: int) -> str:
        """Change the configuration, and return the path by which it is known."""
        path = f"/{MARKER}-{number}"
        url = f"{self.admin_url}/routes/{MARKER}"
        # After a start Kong waits 5 s for each data plane that it still takes for connected.
        answer = httpx.patch(url, json={"paths": [path]}, verify=False, timeout=60)
        answer.raise_for_status()
        return path

    def stop(self) -> None:
        """Stop all; what lasts stays."""
        for node in [*self.nodes, *self.control_planes]:
            node.stop()
        for server in self.plugin_servers:
            server.stop()

    def kill_control_plane(self) -> None:
        """Kill the first control plane, its master and workers, and start it again."""
        self.control_planes[0].kill()
        self.control_planes[0].start()
