"""The plugins on the way to an upstream: key-auth, scim-bridge's guard and acl, as Kong answers."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from typing import Any

from kong_scim.sandbox import entities
from kong_scim.sandbox.entity_schema import is_text
from kong_scim.sandbox.exchange import JSON, Exchange
from kong_scim.sandbox.mp_rpc import Exit
from kong_scim.sandbox.plugins import AclConfig, BridgeConfig, KeyAuthConfig

MANAGED, SUSPENDED = "scim", "scim:suspended"

_IDENTITY = re.compile(r"x_(?:(?:consumer|credential|authenticated)_.*|anonymous_consumer)")
_NO_NAME = re.compile(r"[^a-z0-9]")

_CANNOT_CONSUME = "You cannot consume this service"


def key_auth(exchange: Exchange, config: KeyAuthConfig, database: sqlite3.Connection) -> None:
    """Authenticate by key (``kong/plugins/key-auth/handler.lua``).

    :raises ~kong_scim.sandbox.mp_rpc.Exit: 401 without a key, with two, or with an unknown one.
    """
    if exchange.method == "OPTIONS" and not config.run_on_preflight:
        return
    challenge = {"WWW-Authenticate": f'Key realm="{config.realm}"' if config.realm else "Key"}
    key = None
    query = exchange.query() if config.key_in_query else {}
    for name in config.key_names:
        values = exchange.headers.get(name.lower(), []) if config.key_in_header else []
        values = values or query.get(name, [])
        if len(values) > 1:
            raise exchange.error(401, "Duplicate API key found", challenge)
        if values:
            key = values[0]
            if config.hide_credentials:
                exchange.upstream_headers[name.lower()] = None
                exchange.hidden_query.add(name)
            break
    if not key:
        raise exchange.error(401, "No API key found in request", challenge)
    found = entities.select(database, "keyauth_credentials", "key", key) if is_text(key) else []
    if not found:
        raise exchange.error(401, "Unauthorized", challenge)
    [consumer] = entities.select(database, "consumers", "id", found[0]["consumer"]["id"])
    exchange.consumer, exchange.credential = consumer, found[0]
    exchange.upstream_headers |= {
        "x-consumer-id": consumer["id"],
        "x-consumer-custom-id": consumer["custom_id"],
        "x-consumer-username": consumer["username"],
        "x-credential-identifier": found[0]["id"],
        "x-anonymous-consumer": None,
    }


def hide_identity(exchange: Exchange) -> None:
    """Take off what a client sends of the headers that tell an upstream who calls.

    Before any plugin sets its own (``kong/plugins/scim-bridge/identity.lua``).
    """
    for name in [*exchange.headers]:
        if _IDENTITY.fullmatch(_NO_NAME.sub("_", name)):
            del exchange.headers[name]


def suspended(exchange: Exchange, config: BridgeConfig, database: sqlite3.Connection) -> None:
    """Refuse a consumer whom SCIM suspended (``kong/plugins/scim-bridge/guard.lua``).

    :raises ~kong_scim.sandbox.mp_rpc.Exit: 403; 503 where it cannot do what it is told to.
    """
    if config.hide_identity_headers and not (
        exchange.match and exchange.match.route.hides_identity
    ):
        message = b'{"message":"hide_identity_headers needs a global scim-bridge"}'
        raise Exit(503, message, {"Content-Type": JSON})
    consumer: Any = exchange.consumer or {}
    tags = [str(tag) for tag in consumer.get("tags") or ()]
    tenant = _after("scim:", (tag for tag in tags if tag != SUSPENDED))
    if MANAGED in tags:
        owned = entities.select(database, "acls", "consumer", consumer["id"])
        found = {
            "user_id": _after("scim-user:", tags),
            "tenant": tenant,
            "groups": [row["group"] for row in owned],
            "last_event": _after(entities.EVENT, tags),
        }
        exchange.scim = {name: value for name, value in found.items() if value is not None}
    if SUSPENDED in tags:
        exchange.refused = tenant or ""
        raise Exit(403, b'{"message":"This account is suspended"}', {"Content-Type": JSON})


def _after(prefix: str, tags: Iterable[str]) -> str | None:
    """Return what the last tag that begins so goes on with."""
    found = [tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)]
    return found[-1] if found else None


def acl(exchange: Exchange, config: AclConfig, database: sqlite3.Connection) -> None:
    """Let consumers through by their groups (``kong/plugins/acl/handler.lua``).

    :raises ~kong_scim.sandbox.mp_rpc.Exit: 401 without a consumer, 403 in the wrong groups.
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
