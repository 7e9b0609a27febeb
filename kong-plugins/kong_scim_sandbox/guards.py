"""The plugins that refuse: scim-bridge's guard and acl, as Kong answers."""

from __future__ import annotations

import json
import sqlite3

from kong_scim_sandbox import entities
from kong_scim_sandbox.exchange import JSON, Exchange
from kong_scim_sandbox.lua import facts
from kong_scim_sandbox.lua.workers import Workers
from kong_scim_sandbox.pdk import Exit
from kong_scim_sandbox.plugins import AclConfig, BridgeConfig

_CANNOT_CONSUME = "You cannot consume this service"


def hide_identity(exchange: Exchange, config: BridgeConfig, bridge: Workers, node_id: str) -> None:
    """Remove the headers of a client that would tell an upstream who calls.

    This runs before any plugin sets these headers itself.
    """
    for name in bridge.rewrite(config.model_dump(), facts.of_request(exchange, node_id)):
        del exchange.headers[name]


def suspended(exchange: Exchange, config: BridgeConfig, bridge: Workers, node_id: str) -> None:
    """Run the guard of scim-bridge, which refuses consumers whose access SCIM took away.

    :raises ~kong_scim_sandbox.pdk.Exit: 403, or 503 if the guard cannot decide.
    """
    outcome = bridge.access(config.model_dump(), facts.of_request(exchange, node_id))
    exchange.scim = outcome.get("scim", exchange.scim)
    if outcome.get("ended"):
        exchange.ended = exchange.session
    if "exit" not in outcome:
        return
    exchange.session = None  # or the session plugin would set another cookie
    if outcome.get("authenticated"):
        exchange.consumer, exchange.credential = outcome["consumer"], None
    body = json.dumps(outcome["exit"]["body"], separators=(",", ":")).encode()
    raise Exit(outcome["exit"]["status"], body, {"Content-Type": JSON})


def acl(exchange: Exchange, config: AclConfig, database: sqlite3.Connection) -> None:
    """Admit or refuse a consumer by its groups (``kong/plugins/acl/handler.lua``).

    :raises ~kong_scim_sandbox.pdk.Exit: 401 without a consumer, 403 for the wrong groups.
    """
    if exchange.consumer is None:
        raise exchange.error(401, "Unauthorized")
    owned = entities.select(database, "acls", "consumer", exchange.consumer["id"])
    groups = [row["group"] for row in owned]
    if not groups and not config.deny and exchange.credential is None:  # an anonymous consumer
        raise exchange.error(401, "Unauthorized")
    if config.deny:
        blocked = any(group in config.deny for group in groups)
    else:
        blocked = not any(group in (config.allow or ()) for group in groups)
    if blocked:
        raise exchange.error(403, _CANNOT_CONSUME)
    if groups and not config.hide_groups_header:
        exchange.upstream_headers["x-consumer-groups"] = ", ".join(groups)
