"""The plugins that refuse: scim-bridge's guard and acl, as Kong answers."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kong_scim_sandbox import entities
from kong_scim_sandbox.entity_schema import Entity, is_text
from kong_scim_sandbox.exchange import JSON, Exchange
from kong_scim_sandbox.mp_rpc import Exit
from kong_scim_sandbox.plugins import AclConfig, BridgeConfig

MANAGED, SUSPENDED = "scim", "scim:suspended"

_IDENTITY = re.compile(r"x_(?:(?:consumer|credential|authenticated)_.*|anonymous_consumer)")
_NO_NAME = re.compile(r"[^a-z0-9]")

_CANNOT_CONSUME = "You cannot consume this service"

_LDAP = "ldap_auth_cache:"
"""Before the id of a credential of ldap-auth."""

_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2})|\\(.)|([,+;])|(.)", re.DOTALL)
"""A part of a name within a distinguished name (RFC 4514 §2.4)."""


@dataclass
class _Said:
    """What the tags of a consumer say."""

    tenant: str | None = None
    user_id: str | None = None
    last_event: str | None = None
    revoked_at: int | None = None
    tags: set[str] = field(default_factory=set)


def hide_identity(exchange: Exchange) -> None:
    """Take off what a client sends of the headers that tell an upstream who calls.

    Before any plugin sets its own (``kong/plugins/scim-bridge/identity.lua``).
    """
    for name in [*exchange.headers]:
        if _IDENTITY.fullmatch(_NO_NAME.sub("_", name)):
            del exchange.headers[name]


def suspended(exchange: Exchange, config: BridgeConfig, database: sqlite3.Connection) -> None:
    """Refuse whose access SCIM took away (``kong/plugins/scim-bridge/guard.lua``).

    :raises ~kong_scim_sandbox.mp_rpc.Exit: 403; 503 where it cannot do what it is told to.
    """
    if config.hide_identity_headers and not (
        exchange.match and exchange.match.route.hides_identity
    ):
        sentence = b'{"message":"hide_identity_headers needs a global scim-bridge"}'
        raise Exit(503, sentence, {"Content-Type": JSON})
    for consumer in _consumers(exchange, config, database):
        said = _read(consumer)
        if MANAGED in said.tags and exchange.scim is None:
            owned = entities.select(database, "acls", "consumer", consumer["id"])
            found = {
                "user_id": said.user_id,
                "tenant": said.tenant,
                "groups": [row["group"] for row in owned],
                "last_event": said.last_event,
            }
            exchange.scim = {name: value for name, value in found.items() if value is not None}
        if SUSPENDED in said.tags:
            raise _refusal(exchange, "This account is suspended", said.tenant, consumer)
        session = exchange.session
        if said.revoked_at is not None and session and session.began <= said.revoked_at:
            message = "This login began before access was revoked: log in again"
            raise _refusal(exchange, message, said.tenant, consumer)


def _consumers(
    exchange: Exchange, config: BridgeConfig, database: sqlite3.Connection
) -> list[Entity]:
    """Return whom a request is of; a login without a consumer may mean several.

    :raises ~kong_scim_sandbox.mp_rpc.Exit: 403 where it can be refused without more.
    """
    if exchange.consumer is not None:
        found = entities.select(database, "consumers", "id", exchange.consumer["id"])
        if not found:
            raise _refusal(exchange, "This account is no more")
        return found
    if exchange.credential is None:
        return []
    consumers = []
    for name in _names(exchange, exchange.credential):
        consumers += entities.named(database, name) if is_text(name) else []
    if not consumers and config.unknown_logins == "refuse":
        raise _refusal(exchange, "This account is not known here")
    return consumers


def _names(exchange: Exchange, credential: Entity) -> Iterator[str]:
    """Yield what a login calls the person (``logins.lua``)."""
    name = str(credential["username"])
    yield name
    if str(credential["id"]).startswith(_LDAP):
        if re.match(r'\s*[#"]', name):
            raise _refusal(exchange, "Spell the username without escapes")
        yield _plain(name)


def _plain(name: str) -> str:
    """Return what a directory compares of a name that was put into a distinguished name."""
    value = b""
    for code, escaped, ends, other in _ESCAPED.findall(name.encode()):
        if ends:
            break
        value += bytes.fromhex(code.decode()) if code else escaped or other
    return " ".join(value.decode(errors="replace").split())


def _read(consumer: Entity) -> _Said:
    tags = [str(tag) for tag in consumer.get("tags") or ()]
    revoked = _after("scim-revoked-at:", tags)
    return _Said(
        tenant=_after("scim:", (tag for tag in tags if tag != SUSPENDED)),
        user_id=_after("scim-user:", tags),
        last_event=_after(entities.EVENT, tags),
        revoked_at=int(revoked) if revoked and revoked.isdecimal() else None,
        tags=set(tags),
    )


def _refusal(
    exchange: Exchange, message: str, tenant: str | None = None, consumer: Entity | None = None
) -> Exit:
    """Return the refusal of a request, whose session it ends."""
    exchange.refused = tenant or ""
    exchange.ended, exchange.session = exchange.session, None
    if consumer or exchange.consumer:
        exchange.consumer, exchange.credential = consumer or exchange.consumer, None
    return Exit(403, f'{{"message":"{message}"}}'.encode(), {"Content-Type": JSON})


def _after(prefix: str, tags: Iterable[str]) -> str | None:
    """Return what the last tag that begins so goes on with."""
    found = [tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)]
    return found[-1] if found else None


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
