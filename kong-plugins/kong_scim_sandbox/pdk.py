"""The functions of Kong's plugin development kit that plugins call, for one request.

``kong.request``, ``kong.client`` and the like after ``kong/pdk/*.lua``. No proxy is trusted: what
is forwarded is what was asked. ``kong.scim.*`` is :mod:`.bridge_functions`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from kong_scim.cli import vault
from kong_scim_sandbox.exchange import JSON, Exchange
from kong_scim_sandbox.mp_rpc import Exit
from kong_scim_sandbox.router import normalized

_log = logging.getLogger("kong")

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warn": logging.WARNING,
    "err": logging.ERROR,
    "crit": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emerg": logging.CRITICAL,
}


class TimerPdk:
    """The PDK where there is no request: the log, and what other plugins put there.

    :param extra: Functions by name.
    """

    def __init__(self, extra: Mapping[str, Callable[..., Any]]) -> None:
        self._extra = extra

    def lookup(self, method: str) -> Callable[..., Any] | None:
        """Return the function of a name such as ``kong.log.err``, or None."""
        return self._extra.get(method) or _log_function(method)


class RequestPdk:
    """The PDK as one plugin of one request sees it.

    :param extra: Functions that other plugins put on Kong's global table, by name.
    """

    def __init__(
        self, exchange: Exchange, node_id: str, extra: Mapping[str, Callable[..., Any]]
    ) -> None:
        self._exchange = exchange
        self._node_id = node_id
        self._extra = extra

    def lookup(self, method: str) -> Callable[..., Any] | None:
        """Return the function of a name such as ``kong.request.get_method``, or None."""
        if method in self._extra:
            return self._extra[method]
        if method.startswith("kong.log."):
            return _log_function(method)
        if method not in _METHODS:
            return None
        name = "_" + method.removeprefix("kong.").replace(".", "_")
        function: Callable[..., Any] = getattr(self, name)
        return function

    def _request_get_scheme(self) -> str:
        return str(self._exchange.scope["scheme"])

    _request_get_forwarded_scheme = _request_get_scheme

    def _request_get_host(self) -> str:
        return self._exchange.host

    _request_get_forwarded_host = _request_get_host

    def _request_get_port(self) -> int:
        return self._exchange.port

    _request_get_forwarded_port = _request_get_port

    def _request_get_forwarded_prefix(self) -> str | None:
        match = self._exchange.match
        return match.prefix if match and match.route.strip_path else None

    def _request_get_method(self) -> str:
        return self._exchange.method

    def _request_get_path(self) -> str:
        return normalized(self._exchange.raw_path)

    def _request_get_raw_path(self) -> str:
        return self._exchange.raw_path

    _request_get_forwarded_path = _request_get_raw_path

    def _request_get_raw_query(self) -> str:
        return self._exchange.raw_query

    def _request_get_path_with_query(self) -> str:
        query = self._exchange.raw_query
        return self._exchange.raw_path + (f"?{query}" if query else "")

    def _request_get_query(self, _maximum: int = 100) -> dict[str, list[str]]:
        return self._exchange.query()

    def _request_get_query_arg(self, name: str) -> str | bool | None:
        values = self._exchange.query().get(name)
        return None if values is None else (values[0] if values else True)

    def _request_get_header(self, name: str) -> str | None:
        return self._exchange.header(name)

    def _request_get_headers(self, _maximum: int = 100) -> dict[str, list[str]]:
        return self._exchange.headers

    async def _request_get_raw_body(self, limit: int = 8192) -> bytes:
        body, _ = await self._exchange.body(limit or 2**31)
        return body

    def _client_get_ip(self) -> str:
        return self._exchange.client_ip

    _client_get_forwarded_ip = _client_get_ip

    def _client_get_protocol(self, _allow_terminated: bool = False) -> str:
        return self._request_get_scheme()

    def _client_get_consumer(self) -> Any:
        return self._exchange.consumer

    def _client_get_credential(self) -> Any:
        return self._exchange.credential

    def _node_get_id(self) -> str:
        return self._node_id

    def _router_get_route(self) -> Any:
        match = self._exchange.match
        if match is None:
            return None
        route = match.route.model_dump(
            mode="json", exclude={"plugins", "service"}, exclude_none=True
        )
        return {key: value for key, value in route.items() if value != []}

    def _router_get_service(self) -> Any:
        match = self._exchange.match
        service = match.route.service if match else None
        return None if service is None else service.model_dump(exclude_none=True)

    def _plugin_get_id(self) -> str | None:
        return self._exchange.plugin_id

    def _vault_get(self, reference: str) -> str | None:
        return vault.get(reference)

    def _vault_is_reference(self, value: Any) -> bool:
        return vault.is_reference(value)

    def _ctx_shared_get(self, key: str) -> Any:
        return self._exchange.shared.get(key)

    def _ctx_shared_set(self, key: str, value: Any = None) -> None:
        self._exchange.shared[key] = value

    def _response_set_header(self, name: str, value: Any) -> None:
        self._exchange.response_headers[name.lower()] = value

    def _response_exit(
        self, status: int, body: Any = None, headers: Mapping[str, Any] | None = None
    ) -> None:
        sent = dict(headers or {})
        if isinstance(body, (dict, list)):
            sent.setdefault("Content-Type", JSON)
            body = json.dumps(body)
        raw = body if isinstance(body, bytes) else (body or "").encode("utf-8", "surrogateescape")
        raise Exit(status, raw, sent)

    def _response_error(
        self, status: int, message: str | None = None, headers: Mapping[str, Any] | None = None
    ) -> None:
        raise self._exchange.error(status, message or "An unexpected error occurred", headers)


def _log_function(method: str) -> Callable[..., Any] | None:
    level = _LEVELS.get(method.removeprefix("kong.log."))
    return None if level is None else lambda *parts: _write_log(level, parts)


def _write_log(level: int, parts: tuple[Any, ...]) -> None:
    _log.log(
        level,
        "%s",
        " ".join(p.decode(errors="replace") if isinstance(p, bytes) else str(p) for p in parts),
    )


_METHODS = frozenset(
    f"kong.{name[1:].replace('_', '.', 1)}"
    for name in vars(RequestPdk)
    if name.startswith("_") and not name.startswith("__")
) | {"kong.ctx.shared.get", "kong.ctx.shared.set"}
