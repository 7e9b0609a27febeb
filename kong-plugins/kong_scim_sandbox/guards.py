"""The plugins that refuse: scim-bridge's guard and acl, as Kong answers."""

from __future__ import annotations

import json
import sqlite3

from kong_scim_sandbox import entities
from kong_scim_sandbox.exchange import JSON, Exchange
from kong_scim_sandbox.lua import facts
from kong_scim_sandbox.lua.workers import Workers
from kong_scim_sandbox.mp_rpc import Exit
from kong_scim_sandbox.plugins import AclConfig, BridgeConfig

_CANNOT_CONSUME = "You cannot consume this service"


def hide_identity(exchange: Exchange, bridge: Workers, node_id: str) -> None:
    """Take off what a client sends of the headers that tell an upstream who calls.

    Before any plugin sets its own.
    """
    config = BridgeConfig(hide_identity_headers=True).model_dump()
    for name in bridge.rewrite(config, facts.of_request(exchange, node_id)):
        del exchange.headers[name]


def suspended(exchange: Exchange, config: BridgeConfig, bridge: Workers, node_id: str) -> None:
    """Refuse whose access SCIM took away: the guard of scim-bridge.

    :raises ~kong_scim_sandbox.mp_rpc.Exit: 403, or 503 where scim-bridge cannot decide.
    """
    found = bridge.access(config.model_dump(), facts.of_request(exchange, node_id))
    exchange.scim = found.get("scim", exchange.scim)
    if found.get("ended"):
        exchange.ended = exchange.session
    if "exit" not in found:
        return
    exchange.session = None  # which would be given another cookie
    if found.get("authenticated"):
        exchange.consumer, exchange.credential = found["consumer"], None
    body = json.dumps(found["exit"]["body"], separators=(",", ":")).encode()
    raise Exit(found["exit"]["status"], body, {"Content-Type": JSON})


def acl(exchange: Exchange, config: AclConfig, database: sqlite3.Connection) -> None:
    """Let consumers through by their groups (``kong/plugins/acl/handler.lua``).

    :raises ~kong_scim_sandbox.mp_rpc.Exit: 401 without a consumer, 403 in the wrong groups.
    """
    if exchange.consumer is None:
        raise exchange.error(401, "Unauthorized")
    owned = entities.select(database, "acls", "consumer", exchange.consumer["id"])
    groups = [row["group"] for row in owned]
    if config.deny:
        blocked = any(group in config.deny for group in groups)
    else:
        blocked = not any(group in (config.allow or ()) for group in groups)
    if blocked:
        raise exchange.error(403, _CANNOT_CONSUME)
    if groups and not config.hide_groups_header:
        exchange.upstream_headers["x-consumer-groups"] = ", ".join(groups)
