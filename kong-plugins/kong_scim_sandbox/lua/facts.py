"""Makes the facts about a request that scim-bridge needs, with texts as octets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kong_scim_sandbox.declarative import Route
from kong_scim_sandbox.exchange import Exchange
from kong_scim_sandbox.lua.runtime import octets
from kong_scim_sandbox.router import normalized


def of_request(exchange: Exchange, node_id: str) -> dict[str, Any]:
    """Return the facts about a client's request. No proxy is trusted."""
    match = exchange.match
    return {
        "node_id": node_id,
        "request_id": exchange.request_id,
        "method": exchange.method,
        "path": normalized(exchange.raw_path),
        "raw_path": exchange.raw_path.partition("?")[0],
        "raw_query": exchange.raw_query,
        "headers": {name: octets(values[0]) for name, values in exchange.headers.items()},
        "scheme": exchange.scope["scheme"],
        "host": octets(exchange.host),
        "client_ip": exchange.client_ip,
        "vars": {"server_addr": "127.0.0.1", "server_port": str(exchange.port)},
        "route": match and _route(match.route),
        "service": match and match.route.service and {"name": octets(match.route.service.host)},
        "consumer": _octets(exchange.consumer),
        "credential": _octets(exchange.credential),
        "session": exchange.session
        and {
            "began": exchange.session.began,
            "consumer": exchange.session.consumer,
            "credential": exchange.session.credential,
        },
        "token": exchange.token,
        "identity_hidden": bool(match and match.route.hides_identity) or None,
    }


def _route(route: Route) -> dict[str, Any]:
    paths = [octets(each) for each in route.paths]
    return {"name": octets(route.name or route.id), "paths": paths}


def _octets(value: Any) -> Any:
    if isinstance(value, str):
        return octets(value)
    if isinstance(value, Mapping):
        return {name: _octets(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_octets(each) for each in value]
    return value
