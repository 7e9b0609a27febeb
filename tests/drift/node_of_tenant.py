"""A tenant on a node that runs the shipped Lua in this process, with a database or without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from kong_scim.app import Plugin
from kong_scim.bridge import Consumer
from kong_scim.dbless.bridge import epoch_key
from kong_scim.directory.documents import Content
from kong_scim.directory.event_tables import outbox
from kong_scim.directory.statements import Statement
from kong_scim.events.outbox import Origin
from kong_scim.sync.drift_pass import DriftPass
from kong_scim.sync.drift_search import Position, UserDrift
from kong_scim.tenant import Provisioning
from lua_node import LuaNode
from scim_traffic import CORE_GROUP, CORE_USER, unique

TENANT = "a"


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def forward(self, **duration: float) -> None:
        self._now += timedelta(**duration)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()


class TenantOnNode:
    """A tenant, and what its plugin instances do on one node or on several."""

    def __init__(self, node: LuaNode, data: Path) -> None:
        self.node = node
        self.clock = Clock()
        self._data = data
        self._plugin = self._made()

    def _made(self, **config: Any) -> Plugin:
        token = {"name": "t", "value": "a token of the tests"}
        return Plugin({"tenant": TENANT, "tokens": [token], **config})

    def provisioning(self, plugin: Plugin | None = None, node: str = "n1") -> Provisioning:
        """Return the provisioning of an instance, once a DB-less Kong has all rows."""
        waking = self.node.bridge.wake(epoch=epoch_key(TENANT))
        plugin = plugin or self._plugin
        host = replace(waking.host, node_id=node)
        made = Provisioning(plugin.config, self.node.bridge, host, plugin._kinds, self._data)
        made.keep_kong_applied(waking.epoch)
        return made

    def users(self, count: int, **attributes: Any) -> list[str]:
        """Create users, and return their ids."""
        made = self.provisioning()
        directory, kind = made.directory(Origin("t", "", "")), made.kinds.in_role("User")
        docs = (
            {"schemas": [CORE_USER], "userName": unique("user"), "active": True, **attributes}
            for _ in range(count)
        )
        return sorted(directory.create(kind, Content(doc)).row.id for doc in docs)

    def group(self, name: str, users: list[str]) -> None:
        """Create a group with members."""
        made = self.provisioning()
        doc = {"schemas": [CORE_GROUP], "displayName": name}
        kind = made.kinds.in_role("Group")
        made.directory(Origin("t", "", "")).create(kind, Content(doc, tuple(users)))

    def by_hand(self, *steps: Any) -> None:
        """Change entities in Kong, which nobody but SCIM can do on a DB-less one."""
        self.node.bridge.commit(steps)

    def consumer(self, user: str) -> Consumer | None:
        """Return the consumer of a user, or None."""
        found = self.node.bridge.query(consumer_ids=[user]).consumers
        return found[0] if found else None

    def instance(self, node: str = "n1", **config: Any) -> Instance:
        """Return a new instance of the plugin, with the background pass of its tick."""
        return Instance(self, self._made(**config), node)

    def last_pass(self) -> dict[str, Any] | None:
        """Return the last complete pass."""
        return self.provisioning().drift_tools().state.last_pass()

    def known(self) -> dict[str, int]:
        """Return how many differences are known, by kind."""
        return self.provisioning().drift_tools().state.by_kind()

    def events(self) -> list[tuple[str, str]]:
        """Return the operations of the events about drift, with their sentences."""
        database = self.provisioning().database()
        docs = [json.loads(row["doc"]) for row in database.rows(_EVENTS)]
        return [(doc["operation"], doc["detail"]) for doc in docs]


_EVENTS = Statement(
    select(outbox.c.doc).where(outbox.c.resource_type == "Drift").order_by(outbox.c.position)
)


class Instance:
    """An instance of the plugin, whose background pass a test runs."""

    def __init__(self, tenant: TenantOnNode, plugin: Plugin, node: str) -> None:
        self._tenant, self._plugin, self.node = tenant, plugin, node
        clock = tenant.clock
        self._pass = DriftPass(plugin.config, clock=clock.monotonic, now=clock.now)

    def tick(self) -> None:
        """Run the job of the tick, if it is due."""
        if self._pass.is_due:
            self._pass.run(self._tenant.provisioning(self._plugin, self.node).drift_tools())

    def run(self) -> None:
        """Tick until a pass is complete, a second at a time."""
        before = self._tenant.last_pass()
        for _ in range(100):
            self.tick()
            if self._tenant.last_pass() != before:
                return
            self._tenant.clock.forward(seconds=1)
        raise AssertionError("no pass was completed")

    def found(self) -> list[UserDrift]:
        """Return all differences."""
        return list(self._found())

    def _found(self) -> Iterator[UserDrift]:
        search = self._tenant.provisioning(self._plugin).drift()
        position: Position | None = Position()
        while position is not None:
            part = search.page(position, 3)
            yield from part.found
            position = part.next
