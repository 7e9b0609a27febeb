"""The shipped Lua of one node without HTTP: its bridge, its guard and its timers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kong_scim.bridge import Bridge
from kong_scim_sandbox.lua.workers import Workers
from kong_scim_sandbox.store import Store


class Calls:
    """A plugin server that notes what it is called for.

    :ivar answer: What a call answers; None for nothing.
    """

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.requests: list[Any] = []
        self.answer: dict[str, Any] | None = {}
        self.is_there = True
        self.fails = False

    def listens(self) -> bool:
        return self.is_there

    def handle(self, configuration: str, method: str, admin_request: str | None) -> str | None:
        self.methods.append(method)
        self.requests.append(json.loads(admin_request) if admin_request else None)
        if self.fails:
            raise RuntimeError("it fails")
        return None if self.answer is None else json.dumps(self.answer)


class LuaNode:
    """A node with a store of its own, of whose plugins scim-bridge is on for every route."""

    def __init__(self, path: Path, *, dbless: bool, **settings: Any) -> None:
        self.plugin_server = Calls()
        self.store = Store(path, dbless=dbless)
        self.workers = Workers(self.store.database, dbless=dbless, settings=settings)
        self.workers.plugin_server = self.plugin_server
        self.workers.be_first()
        self.plugins: list[dict[str, Any]] = [
            {"id": "p1", "name": "scim", "enabled": True, "config": {"tenant": "a"}},
            {"id": "p2", "name": "scim-bridge", "enabled": True},
        ]
        self.workers.configure(self.plugins)
        names = (
            "wake",
            "answer_admin_request",
            "query",
            "drift",
            "commit",
            "request_tick",
            "report",
            "begin",
            "body",
        )
        functions = {name: self._function(name) for name in names}
        self.bridge = Bridge(SimpleNamespace(scim=SimpleNamespace(**functions)))
        self.facts: dict[str, Any] = {"node_id": "node"}
        self.body: tuple[bytes | None, str | None] = (None, None)

    def _function(self, name: str) -> Any:
        return lambda text: self.workers.call(name, text, self.facts, lambda: self.body)[0]

    def access(
        self,
        consumer: str | None = None,
        unknown_logins: str = "allow",
        *,
        conf: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> dict[str, Any]:
        """Let a request through the guard, or not; the consumer is the one authenticated."""
        config = {"unknown_logins": unknown_logins, "hide_identity_headers": False, **(conf or {})}
        known = {"consumer": {"id": consumer}, "credential": {"id": "k"}} if consumer else {}
        return self.workers.access(config, {"node_id": "node", "method": "GET", **known, **facts})

    def lua(self, text: str) -> Any:
        """Run a text of Lua, and return what it returns."""
        return self.workers.execute(text)
