"""``kong.scim.begin``, ``body``, ``wake``, ``query``, ...: the shipped Lua, as plugins call it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any

from kong_scim_sandbox.exchange import Exchange
from kong_scim_sandbox.lua import facts
from kong_scim_sandbox.store import Store


class NodeFunctions:
    """The functions that need no request of a client.

    :param executor: Where SQLite works, so that a large query does not hold up every request.
    :param admin_request: A change of a credential that an administrator admin_request for
        (``api.lua``), as JSON.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        node_id: str,
        admin_request: str | None = None,
    ) -> None:
        self._store = store
        self._executor = executor
        self.answered: dict[str, Any] | None = None
        """The answer to that request, if there is one."""
        self._facts: dict[str, Any] = {"node_id": node_id, "admin_request": admin_request}

    def by_name(self) -> dict[str, Callable[[str], Awaitable[str]]]:
        """Return the functions by the names under which plugins call them."""
        return {
            "kong.scim.wake": lambda text: self._call("wake", text),
            "kong.scim.answer_admin_request": lambda text: self._call("answer_admin_request", text),
            "kong.scim.query": lambda text: self._elsewhere("query", text),
            "kong.scim.commit": lambda text: self._elsewhere("commit", text),
            "kong.scim.request_tick": lambda text: self._call("request_tick", text),
            "kong.scim.report": lambda text: self._call("report", text),
        }

    async def _call(self, name: str, text: str) -> str:
        answer, answered = self._store.bridge.call(name, text, self._facts)
        if answered is not None:
            self.answered = answered
        return answer

    async def _elsewhere(self, name: str, text: str) -> str:
        # Not to be cancelled with the client: a commit that began is a commit.
        loop = asyncio.get_running_loop()
        bridge = self._store.bridge
        called = loop.run_in_executor(self._executor, bridge.call, name, text, self._facts)
        answer, _ = await asyncio.shield(called)
        return answer


class BridgeFunctions(NodeFunctions):
    """Those, ``begin`` and ``body``, for one request."""

    def __init__(self, exchange: Exchange, store: Store, executor: Executor, node_id: str) -> None:
        super().__init__(store, executor, node_id)
        self._exchange = exchange
        self._facts = facts.of_request(exchange, node_id)

    def by_name(self) -> dict[str, Callable[[str], Awaitable[str]]]:
        """Return the functions by the names under which plugins call them."""
        return {
            **super().by_name(),
            "kong.scim.begin": lambda text: self._call("begin", text),
            "kong.scim.body": lambda text: self._call("body", text),
        }

    async def _call(self, name: str, text: str) -> str:
        answer, _ = self._store.bridge.call(name, text, self._facts, self._exchange.kept_body)
        return answer
