"""Runs what a node of Kong does without a client's request: timers, and routes of the Admin API."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future

from kong_scim_sandbox.bridge_functions import BridgeFunctions
from kong_scim_sandbox.declarative import Declaration, Route
from kong_scim_sandbox.mp_rpc import PluginInstances
from kong_scim_sandbox.pdk import SandboxPdk
from kong_scim_sandbox.plugins import DeclaredPlugin
from kong_scim_sandbox.store import Store


def scim_plugins(declaration: Declaration) -> Iterator[tuple[Route, DeclaredPlugin]]:
    """Yield every plugin ``scim``, with its route."""
    for route in declaration.routes:
        for plugin in route.plugins:
            if plugin.name == "scim":
                yield route, plugin


class Node:
    """Runs a node's first worker in a thread, and calls the plugin server for scim-bridge.

    :param listens: Tells whether the plugin server listens.
    :ivar declaration: The present routes and plugins.
    """

    def __init__(
        self,
        declaration: Declaration,
        instances: PluginInstances,
        store: Store,
        executor: Executor,
        listens: Callable[[], bool],
    ) -> None:
        self.declaration = declaration
        self.id = str(uuid.uuid4())
        self.listens = listens
        self._instances = instances
        self._store = store
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._calls: set[Future[str | None]] = set()
        self._stopped = False
        store.bridge.plugin_server = self
        self._thread = threading.Thread(target=store.bridge.run_first, daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stop the timers, and cancel the calls that they wait for."""
        self._stopped = True
        self._store.bridge.stop_first()
        for call in list(self._calls):
            call.cancel()
        await asyncio.to_thread(self._thread.join)

    def handle(self, configuration: str, method: str, admin_request: str | None) -> str | None:
        """Call a method of a plugin's instance, as :class:`.lua.workers.PluginServerClient` has it.

        The calling thread must not be that of the event loop.
        """
        identifier = json.loads(configuration)["__plugin_id"].partition(":")[0]
        matching = (each for _, each in scim_plugins(self.declaration) if each.id == identifier)
        plugin = next(matching, None)
        if self._stopped or plugin is None:
            return None
        call = asyncio.run_coroutine_threadsafe(
            self._call(plugin, method, admin_request), self._loop
        )
        self._calls.add(call)
        try:
            return call.result()
        except CancelledError:
            return None
        finally:
            self._calls.discard(call)

    async def _call(
        self, plugin: DeclaredPlugin, method: str, admin_request: str | None
    ) -> str | None:
        facts = {"node_id": self.id, "admin_request": admin_request}
        functions = BridgeFunctions(self._store, self._executor, facts)
        await self._instances.handle_event(
            plugin, lambda _: method, SandboxPdk(functions.by_name())
        )
        answer = functions.admin_answer
        return None if answer is None else json.dumps(answer)
