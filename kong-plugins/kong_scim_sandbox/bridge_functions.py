"""``kong.scim.begin``, ``body``, ``wake``, ``query``, ... after ``kong/plugins/scim-bridge``."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, Protocol

from kong_scim.bridge import BRIDGE_VERSION, BridgeError
from kong_scim.cli import vault
from kong_scim_sandbox.entities import WORKSPACE
from kong_scim_sandbox.exchange import BODY_BUFFER, SERVER, ClientGoneError, Exchange
from kong_scim_sandbox.metrics import Metrics
from kong_scim_sandbox.router import escaped, normalized
from kong_scim_sandbox.store import Store

_log = logging.getLogger(__name__)

_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9])?\.?|\[[0-9a-f:.]{2,45}\])")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PIECE = 1024 * 1024
"""Bytes of a body that one call hands over at most (``body.lua``)."""


class Ticking(Protocol):
    """What ticks: the :class:`~kong_scim_sandbox.node.Node`."""

    metrics: Metrics

    @property
    def guarded(self) -> bool: ...

    def tick_soon(self) -> None: ...


class NodeFunctions:
    """The functions that need no request of a client.

    :param executor: Where SQLite works, so that a large query does not hold up every request.
    :param asked: A change of a credential that an administrator asked for (``api.lua``).
    :param ticking: What a tick may ask of its node; None for nothing.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        node_id: str,
        asked: Mapping[str, Any] | None = None,
        ticking: Ticking | None = None,
    ) -> None:
        self._ticking = ticking
        self._store = store
        self._executor = executor
        self._node_id = node_id
        self._asked = asked
        self.answered: dict[str, Any] | None = None
        """What became of what was asked."""

    def by_name(self) -> dict[str, Callable[[str], Awaitable[str]]]:
        """Return the functions by the names under which plugins call them."""
        return {
            "kong.scim.wake": lambda text: self._answer(self._wake, text),
            "kong.scim.answer": lambda text: self._answer(self._conclude, text),
            "kong.scim.query": lambda text: self._answer(self._query, text),
            "kong.scim.commit": lambda text: self._answer(self._commit, text),
            "kong.scim.soon": lambda text: self._answer(self._soon, text),
            "kong.scim.report": lambda text: self._answer(self._report, text),
        }

    async def _answer(
        self, function: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], text: str
    ) -> str:
        try:
            answer = {"ok": await function(_argument(text))}
        except ClientGoneError:
            # The plugin must hear something, or its event would wait for nobody.
            answer = {"error": {"code": 0, "name": "INTERNAL", "message": "the client went away"}}
        except BridgeError as error:
            fields = ("code", "name", "message", "fields", "step", "label")
            answer = {"error": {field: getattr(error, field) for field in fields}}
        except Exception:
            _log.exception("the bridge failed")
            message = "the bridge failed: see the sandbox's own output"
            answer = {"error": {"code": 0, "name": "INTERNAL", "message": message}}
        return json.dumps(answer, separators=(",", ":"))

    def _host(self) -> dict[str, Any]:
        return {
            "dialect": "sqlite",
            "database": "off" if self._store.dbless else "sqlite",
            "role": "traditional",
            "kong_version": SERVER,
            "node_id": self._node_id,
            "workspace": WORKSPACE,
        }

    async def _wake(self, argument: dict[str, Any]) -> dict[str, Any]:
        key = argument.get("mark")
        return {
            "bridge_version": BRIDGE_VERSION,
            "host": self._host(),
            "secrets": _secrets(argument),
            "mark": self._store.mark(key) if key and self._store.dbless else None,
            "asked": self._asked,
            "observed": self._ticking is not None and self._ticking.metrics.observed,
            "guarded": self._ticking is not None and self._ticking.guarded,
        }

    async def _soon(self, _: dict[str, Any]) -> dict[str, Any]:
        if self._ticking is not None:
            self._ticking.tick_soon()
        return {}

    async def _report(self, argument: dict[str, Any]) -> dict[str, Any]:
        if self._ticking is not None:
            self._ticking.metrics.report(argument["samples"])
        return {}

    async def _conclude(self, argument: dict[str, Any]) -> dict[str, Any]:
        self.answered = {key: argument[key] for key in argument if key != "bridge_version"}
        return {}

    async def _query(self, argument: dict[str, Any]) -> dict[str, Any]:
        answer = await self._run(
            self._store.query,
            argument.get("sql") or [],
            argument.get("consumers") or {},
            _timeout(argument),
        )
        tag = argument.get("tagged")
        return {**answer, "tagged": self._store.tagged(tag) if tag else []}

    async def _commit(self, argument: dict[str, Any]) -> dict[str, Any]:
        # Not to be cancelled with the client: a commit that began is a commit.
        commit = partial(
            self._store.commit, check=bool(argument.get("check")), timeout=_timeout(argument)
        )
        return await asyncio.shield(self._run(commit, argument["steps"], argument.get("mark")))

    async def _run(self, function: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)


class BridgeFunctions(NodeFunctions):
    """Those, ``begin`` and ``body``, for one request.

    :param guarded: Whether the guard is on for every route.
    """

    def __init__(
        self,
        exchange: Exchange,
        store: Store,
        executor: Executor,
        node_id: str,
        *,
        guarded: bool,
    ) -> None:
        super().__init__(store, executor, node_id)
        self._exchange = exchange
        self._guarded = guarded

    def by_name(self) -> dict[str, Callable[[str], Awaitable[str]]]:
        """Return the functions by the names under which plugins call them."""
        return {
            **super().by_name(),
            "kong.scim.begin": lambda text: self._answer(self._begin, text),
            "kong.scim.body": lambda text: self._answer(self._body, text),
        }

    async def _begin(self, argument: dict[str, Any]) -> dict[str, Any]:
        exchange = self._exchange
        https = exchange.scope["scheme"] == "https"
        size: int | None = 0
        if https or not argument["require_https"]:
            size = await exchange.body_size(argument["max_body_size"])
        small = exchange.body_piece(0, size) if size and size <= BODY_BUFFER else b""
        prefix, path = self._split_path()
        return {
            "bridge_version": BRIDGE_VERSION,
            "host": self._host(),
            "request": {
                "method": exchange.method,
                "path": path,
                "query": escaped(exchange.raw_query),
                "headers": {name: _utf8(values[0]) for name, values in exchange.headers.items()},
                "body": base64.b64encode(small).decode(),
                "body_size": size or 0,
                "body_too_large": size is None,
                "https": https,
                "base_url": self._origin() + prefix,
                "client_ip": exchange.client_ip,
                "request_id": exchange.request_id,
            },
            "guarded": self._guarded,
            "secrets": _secrets(argument),
            "caller": await self._caller() if argument.get("caller") else None,
        }

    async def _body(self, argument: dict[str, Any]) -> dict[str, Any]:
        start, length = (argument.get(name) for name in ("from", "length"))
        if (
            not isinstance(start, int)
            or not isinstance(length, int)
            or start < 0
            or not 1 <= length <= _PIECE
        ):
            message = f"`from` must be a number of bytes and `length` one from 1 to {_PIECE}"
            raise BridgeError("BAD_REQUEST", message)
        return {"piece": base64.b64encode(self._exchange.body_piece(start, length)).decode()}

    async def _caller(self) -> dict[str, Any] | None:
        """Return whom key-auth found. The sandbox's has no anonymous consumers."""
        if self._exchange.consumer is None:
            return None
        answer = await self._run(self._store.query, [], {"id": [self._exchange.consumer["id"]]})
        [consumer] = answer["consumers"] or [None]
        return consumer and {
            "name": consumer["username"] or consumer["id"],
            "groups": [acl["group"] for acl in consumer["acls"]],
            "anonymous": False,
        }

    def _split_path(self) -> tuple[str, str]:
        """Return the part of the path that led to the route, and the rest, still encoded."""
        exchange = self._exchange
        prefix = exchange.match.prefix if exchange.match else "/"
        raw = exchange.raw_path
        path = raw if raw.startswith(prefix) else normalized(raw)
        prefix = prefix.rstrip("/")
        rest = path[len(prefix) :]
        return escaped(prefix), escaped(rest if rest.startswith("/") else f"/{rest}")

    def _origin(self) -> str:
        exchange = self._exchange
        scheme = exchange.scope["scheme"]
        host, port = exchange.host, re.search(r":(\d+)$", exchange.header("host") or "")
        number = int(port[1]) if port else _DEFAULT_PORTS[scheme]
        if not _HOST.fullmatch(host):
            host, number = "127.0.0.1", exchange.port
        if not 0 < number < 65536 or number == _DEFAULT_PORTS[scheme]:
            return f"{scheme}://{host}"
        return f"{scheme}://{host}:{number}"


def _argument(text: str) -> dict[str, Any]:
    argument: dict[str, Any] = json.loads(text)
    if argument.get("bridge_version") != BRIDGE_VERSION:
        raise BridgeError("BRIDGE_VERSION", f"the sandbox speaks version {BRIDGE_VERSION}")
    return argument


def _timeout(argument: Mapping[str, Any]) -> float:
    """Return how many seconds a statement may take (``sql.lua``)."""
    milliseconds: float = argument.get("timeout") or 4000
    return milliseconds / 1000


def _secrets(argument: Mapping[str, Any]) -> dict[str, str | None]:
    return {reference: vault.get(reference) for reference in argument["secrets"] or []}


def _utf8(value: str) -> str:
    """Return a header's value as text; what is no UTF-8 is read as Latin-1."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value
