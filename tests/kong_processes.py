"""A real Kong of the tests, with its plugin servers: a cluster on PostgreSQL, or one DB-less node.

See :mod:`hosts` for what a test gets of it, and :mod:`hybrid_processes` for a hybrid Kong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from host_processes import ENVIRONMENT, HERE, PluginServer, eventually
from kong_process import KongProcess, kong_binary
from on_clock import Clock


class KongNodes:
    """What the hosts of a real Kong have in common, in whatever shape it runs.

    :param ticks: Whether the tick comes by itself, and not only at the start.
    :ivar kong: The node that is killed.
    :ivar plugin_servers: Those beside the nodes; the first one is killed.
    """

    kong: KongProcess
    plugin_servers: list[PluginServer]

    def __init__(
        self, directory: Path, content: dict[str, Any], *, ticks: bool, open_source: bool
    ) -> None:
        self.open_source = open_source
        self._plugins = [
            *("scim", "scim-bridge"),
            *(() if ticks else ("scim-without-ticks",)),
            *(() if open_source else ("scim-consumer-groups",)),
        ]
        self._ticks = ticks
        self._stack = contextlib.ExitStack()
        self._config = directory / "kong.yml"
        self._config.write_text(yaml.safe_dump(content))
        self._imported = False

    def stop(self) -> None:
        """Stop all; what lasts stays."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop all, and remove the database."""
        self.stop()
        self._stack.close()

    def _new_database(self) -> Any:
        from postgres import running_postgres

        return self._stack.enter_context(running_postgres()).new_database("kong")

    def _import(self, node: KongProcess) -> None:
        """Make the database's tables, and import the declarative content, the first time."""
        if not self._imported:
            node.run("migrations", "bootstrap")
            node.run("migrations", "up")
            node.run("config", "db_import", str(self._config))
            self._imported = True

    def _await_plugin_servers(self) -> None:
        """Without ticks, have each node find its plugin server: the first tick is the only one that
        comes by itself."""
        if not self._ticks:
            for server in self.plugin_servers:
                eventually(server.socket.exists, "the plugin server")

    def kill_gateway(self) -> None:
        """Kill one worker of the first node; its master starts another."""
        self.kong.kill_worker()

    def kill_node(self) -> None:
        """Kill the first node, its master and workers, and start it again."""
        self.kong.kill()
        self.kong.start()

    def kill_plugin_server(self) -> None:
        """Kill the first plugin server, and start another, as Docker would."""
        self.plugin_servers[0].kill()
        self.plugin_servers[0].start()

    def plugin_server(self) -> psutil.Process:
        """Return the first plugin server."""
        return psutil.Process(self.plugin_servers[0].pid)

    def log(self) -> str:
        """Return what the plugin servers wrote so far."""
        return "".join(server.log() for server in self.plugin_servers)


class KongHost(KongNodes):
    """A real Kong, each node with two workers and a plugin server of its own.

    With PostgreSQL it is a cluster, of two nodes by default; without, DB-less, it is one.

    :param settings: Further variables of Kong's environment.
    :param nodes: The nodes of the cluster. A DB-less Kong has one always.
    :ivar kong: The first node, and the one that the Admin API is of.
    :ivar nodes: All of them.
    """

    def __init__(
        self,
        directory: Path,
        content: dict[str, Any],
        *,
        dbless: bool,
        settings: Mapping[str, str] | None = None,
        ticks: bool = True,
        clock: Clock | None = None,
        nodes: int = 2,
        open_source: bool = False,
    ) -> None:
        super().__init__(directory, content, ticks=ticks, open_source=open_source)
        self.name = "kong-dbless" if dbless else "kong-postgres"
        self.dbless = dbless
        self.is_settled = True
        self.postgres = None if dbless else self._new_database()
        data = directory / "data" if dbless else None
        self.sqlite = data / "scim.sqlite" if data else None
        count = 1 if dbless else nodes
        self.plugin_servers = [
            PluginServer(directory, number, data, clock) for number in range(count)
        ]
        self.nodes = [
            KongProcess(
                kong_binary(),
                directory / f"kong-{number}",
                postgres=self.postgres,
                declarative=self._config if dbless else None,
                plugins=self._plugins,
                lua_path=[HERE],
                pluginserver=(server.socket, server.dump),
                env={**ENVIRONMENT, **(settings or {})},
            )
            for number, server in enumerate(self.plugin_servers)
        ]
        self.kong = self.nodes[0]
        self.proxy_urls = [node.proxy_url for node in self.nodes]
        self.admin_url = self.kong.admin_url

    def start(self) -> None:
        """Start all; the declarative content is imported the first time."""
        for server in self.plugin_servers:
            server.start()
        if self.postgres:
            self._import(self.kong)
        self._await_plugin_servers()
        for node in self.nodes:
            node.start()

    def stop(self) -> None:
        """Stop all; what lasts stays."""
        for node in self.nodes:
            node.stop()
        for server in self.plugin_servers:
            server.stop()

    def settle(self) -> None:
        """Do nothing, as what is written counts at once."""
        self.is_settled = True
