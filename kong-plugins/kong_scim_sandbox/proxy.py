"""The proxy port: finds the route, runs its plugins in Kong's order, and goes to the upstream."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from kong_scim_sandbox import authentication, front, guards, logs
from kong_scim_sandbox.bridge_functions import BridgeFunctions
from kong_scim_sandbox.exchange import ClientGoneError, Exchange
from kong_scim_sandbox.lua import facts
from kong_scim_sandbox.mp_rpc import PluginInstances
from kong_scim_sandbox.pdk import Exit, SandboxPdk, response_exit, scim_exit
from kong_scim_sandbox.plugins import DeclaredPlugin
from kong_scim_sandbox.router import Match, Router
from kong_scim_sandbox.store import Store
from kong_scim_sandbox.upstream import Upstreams

_log = logging.getLogger(__name__)

_GUARDS: dict[str, Callable[..., None]] = {
    "jwt": authentication.jwt,
    "key-auth": authentication.key_auth,
    "acl": guards.acl,
}

# kong/plugins/scim/handler.lua answers this where Kong itself would pass the request on.
_UNAVAILABLE = json.dumps(
    {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": "503",
        "detail": "The SCIM plugin server does not answer: see the sandbox's own output",
    }
).encode()
_UNAVAILABLE_HEADERS = {"Content-Type": "application/scim+json", "Retry-After": "5"}


@dataclass
class Proxy:
    """The ASGI application of the proxy port."""

    router: Router
    instances: PluginInstances
    store: Store
    upstreams: Upstreams
    executor: Executor
    node_id: str
    port: int
    sessions: authentication.Sessions = field(default_factory=authentication.Sessions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        answer = logs.Answering(send)
        exchange = Exchange(scope, receive, answer, self.port)
        try:
            await self._answer(exchange)
        finally:
            exchange.close()
        logs.after(exchange, answer, self.store.bridge, self.node_id)

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._serve(exchange)
        except Exit as end:
            await exchange.respond(end.status, end.body, end.headers)
        except ClientGoneError:
            return
        except Exception:
            _log.exception("request %s failed", exchange.request_id)
            answer = exchange.error(500, "An unexpected error occurred")
            await exchange.respond(answer.status, answer.body, answer.headers)

    async def _serve(self, exchange: Exchange) -> None:
        front.admit(exchange)
        match = self.router.match(exchange.method, exchange.host, exchange.raw_path)
        if match is None:
            raise exchange.error(404, "no Route matched with those values")
        exchange.match = match
        if exchange.scope["scheme"] not in match.route.protocols:
            _refuse_protocol(exchange, match)
        if match.route.hides_identity:
            hiding = match.route.hides_identity
            guards.hide_identity(exchange, hiding, self.store.bridge, self.node_id)
        try:
            await self._run_plugins(exchange, match)
        finally:
            for plugin in match.route.plugins:
                if plugin.name == "session":
                    authentication.begin_session(exchange, plugin.config, self.sessions)
                    authentication.end_session(exchange, plugin.config, self.sessions)
        if match.route.service is None:
            raise exchange.error(503, "no Service found with those values")
        await self.upstreams.forward(exchange, match, match.route.service)

    async def _run_plugins(self, exchange: Exchange, match: Match) -> None:
        database = self.store.entities
        for plugin in match.route.plugins:
            if plugin.name == "scim":
                await self._scim(exchange, plugin)
            elif plugin.name == "session":
                authentication.session(exchange, plugin.config, database, self.sessions)
            elif plugin.name == "ldap-auth":
                await authentication.ldap_auth(exchange, plugin.config)
            elif plugin.name == "scim-bridge":
                guards.suspended(exchange, plugin.config, self.store.bridge, self.node_id)
            elif plugin.name in _GUARDS:
                _GUARDS[plugin.name](exchange, plugin.config, database)

    async def _scim(self, exchange: Exchange, plugin: DeclaredPlugin) -> None:
        # As in kong/plugins/scim-bridge/body.lua, so that no worker slot waits for a slow client.
        if exchange.scope["scheme"] == "https" or plugin.config.get("require_https") is False:
            await exchange.body_size(plugin.config["max_body_size"])
        request = facts.of_request(exchange, self.node_id)
        bridge = BridgeFunctions(self.store, self.executor, request, exchange.kept_body)
        exits: dict[str, Callable[..., Any]] = {
            "kong.response.exit": response_exit,
            "kong.scim.exit": scim_exit,
        }
        pdk = SandboxPdk({**bridge.by_name(), **exits})
        await self.instances.handle_event(plugin, bridge.first_message, pdk)
        raise Exit(503, _UNAVAILABLE, _UNAVAILABLE_HEADERS)


def _refuse_protocol(exchange: Exchange, match: Match) -> Any:
    if match.route.protocols == ("https",):
        upgrade = {"Connection": "Upgrade", "Upgrade": "TLS/1.2, HTTP/1.1"}
        raise exchange.error(426, "Please use HTTPS protocol", upgrade)
