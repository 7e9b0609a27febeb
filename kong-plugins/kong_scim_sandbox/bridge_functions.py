"""The functions ``kong.scim.*`` that plugins call. They run the Lua of scim-bridge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

from kong_scim_sandbox.store import Store

_QUICK = ("begin", "body", "wake", "answer_admin_request", "request_tick", "report")
_SLOW = ("query", "drift", "review", "commit", "credentials", "diagnose")


class BridgeFunctions:
    """The functions of ``kong.scim`` for one request, or for one call without a request.

    :param executor: Runs queries and commits, so that a large one does not delay other requests.
    :param facts: The facts about the request (:mod:`.lua.facts`).
    :param body: Returns the body of the request, or the path of the file with it.
    :ivar admin_answer: The answer to a request of an administrator, or None.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        facts: dict[str, Any],
        body: Callable[[], tuple[bytes | None, str | None]] = lambda: (None, None),
    ) -> None:
        self._store = store
        self._executor = executor
        self._facts = facts
        self._body = body
        self._parts: list[str] = []
        self.admin_answer: dict[str, Any] | None = None

    def by_name(self) -> dict[str, Callable[..., Any]]:
        """Return the functions by the names under which plugins call them."""
        functions: dict[str, Callable[[str], Awaitable[str]]] = {
            **{name: partial(self._call, name) for name in _QUICK},
            **{name: partial(self._call_in_thread, name) for name in _SLOW},
        }
        functions["part"] = self._part
        return {f"kong.scim.{name}": function for name, function in functions.items()}

    def first_message(self, instance: int) -> str:
        """Return the name of the event for a request, with the answer of ``begin`` if it is known
        what the instance asks for."""
        self._facts["instance"] = instance
        return self._store.bridge.first_message(self._facts, self._body)

    async def _part(self, text: str) -> str:
        self._parts.append(text)
        return '{"ok":{}}'

    def _joined(self, text: str) -> str:
        whole = "".join([*self._parts, text])
        self._parts.clear()
        return whole

    async def _call(self, name: str, text: str) -> str:
        whole = self._joined(text)
        answer, admin_answer = self._store.bridge.call(name, whole, self._facts, self._body)
        if admin_answer is not None:
            self.admin_answer = admin_answer
        return answer

    async def _call_in_thread(self, name: str, text: str) -> str:
        # A commit that has begun is not cancelled when the client goes away.
        loop = asyncio.get_running_loop()
        bridge = self._store.bridge
        called = loop.run_in_executor(
            self._executor, bridge.call, name, self._joined(text), self._facts
        )
        answer, _ = await asyncio.shield(called)
        return answer
