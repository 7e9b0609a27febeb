"""What a node of Kong does without a client's request: the tick, and the Admin API's calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from kong_scim_sandbox.bridge_functions import NodeFunctions
from kong_scim_sandbox.declarative import Declaration, Route
from kong_scim_sandbox.mp_rpc import PluginInstances
from kong_scim_sandbox.pdk import TimerPdk
from kong_scim_sandbox.plugins import Plugin
from kong_scim_sandbox.store import Store

_log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between ticks (``kong/plugins/scim-bridge/tick.lua``)."""

PAUSE = 0.2
"""Seconds from the end of one to the next, however many writes ask for it."""


def scim_plugins(declaration: Declaration) -> Iterator[tuple[Route, Plugin]]:
    """Yield every plugin ``scim``, with its route."""
    for route in declaration.routes:
        for plugin in route.plugins:
            if plugin.name == "scim":
                yield route, plugin


@dataclass
class Node:
    """Calls the plugin's instances."""

    declaration: Declaration
    instances: PluginInstances
    store: Store
    executor: Executor
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    _asked: asyncio.Event = field(default_factory=asyncio.Event)

    def tick_soon(self) -> None:
        """Have the next tick come soon: there is something that somebody may have to be told of."""
        self._asked.set()

    async def tick_for_ever(self) -> None:
        """Call ``tick`` of each plugin once a second, and soon where that is asked for."""
        while True:
            self._asked.clear()
            for _, plugin in scim_plugins(self.declaration):
                self.store.bridge.show_guarded(plugin.config["tenant"])
                try:
                    await self._call(plugin, "tick")
                except Exception:
                    _log.exception("the tick of plugin %s failed", plugin.id)
            await asyncio.sleep(PAUSE)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), INTERVAL)

    async def change_credential(
        self, tenants: set[str], asked: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Have the plugin server keep and commit a change of a credential; see ``api.lua``.

        :param tenants: Those of the consumer.
        :return: What the plugin answered, empty where it is done; None without an answer.
        :raises LookupError: When there is no plugin of such a tenant.
        """
        for _, plugin in scim_plugins(self.declaration):
            if plugin.config.get("tenant", "default") in tenants:
                answer = await self._call(plugin, "credential", asked)
                self.tick_soon()
                return answer
        raise LookupError(tenants)

    async def _call(
        self, plugin: Plugin, method: str, asked: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        text = json.dumps(asked) if asked else None
        functions = NodeFunctions(self.store, self.executor, self.id, text, self)
        await self.instances.handle_event(plugin, method, TimerPdk(functions.by_name()))
        return functions.answered
