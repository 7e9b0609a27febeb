"""Directory, projection and bridge put together: one SCIM change is one commit."""

from __future__ import annotations

from pathlib import Path

from scim2_models import ScimProvider

from kong_scim.bridge import Bridge, BridgeError, Delete, Host, Upsert
from kong_scim.config import PluginConfig
from kong_scim.directory.kinds import Kind, Kinds
from kong_scim.directory.ports import Database, Scope
from kong_scim.directory.storage import SqlStorage
from kong_scim.lifecycle.events import Origin, Outbox
from kong_scim.projection import check_mapping
from kong_scim.provisioning.afterwards import Afterwards
from kong_scim.provisioning.dbless import DblessBridge, Memory, mark_key, memory
from kong_scim.provisioning.effects import KongEffects
from kong_scim.provisioning.gateway import Gateway, GatewayDatabase
from kong_scim.provisioning.reapply import Tenant, keep_applied

DATA_PLANE = (
    "This is a data plane of a hybrid gateway (or of Konnect): whatever is written here is wiped "
    "by the next push of its control plane. Send provisioning to a traditional or a DB-less Kong"
)


class NoDataError(Exception):
    """A Kong without a database, and a plugin server without a place of its own."""


def check(config: PluginConfig, provider: ScimProvider) -> None:
    """Refuse a configuration that no user of this provider can satisfy.

    :raises ~kong_scim.config.ConfigurationError: With the field's name.
    """
    users = Kinds(provider).in_role("User")
    if users is not None:
        check_mapping(config.consumer, users.model)


def storage_for(
    config: PluginConfig,
    bridge: Bridge,
    host: Host,
    provider: ScimProvider,
    data: Path | None,
    *,
    origin: Origin,
) -> SqlStorage:
    """Return the tenant's resources, each write of which is a commit with its effects in Kong.

    :param data: Where what lasts is kept for a Kong without a database.
    :param origin: Of the request, for the event that each write leaves in the same commit.
    :raises ~kong_scim.bridge.BridgeError: ``READ_ONLY`` on a data plane.
    :raises NoDataError: For a Kong without a database, when there is no such place.
    :raises ~kong_scim.directory.local.StoreError: When that place cannot be used.
    """
    scope, gateway = _reached(config, bridge, host, data)
    return SqlStorage(
        GatewayDatabase(gateway, host.dialect),
        scope,
        provider,
        KongEffects(config, gateway, declared=host.database == "off"),
        Outbox(host.dialect, scope, origin, values=config.events.values),
    )


def place_of(
    config: PluginConfig, bridge: Bridge, host: Host, provider: ScimProvider, data: Path | None
) -> tuple[Database, Scope, Kind]:
    """Return where the tenant's events are kept, and the resource type they have.

    :raises Exception: As :func:`storage_for`.
    """
    scope, gateway = _reached(config, bridge, host, data)
    return GatewayDatabase(gateway, host.dialect), scope, Kinds(provider).of("Event")


def keep_kong_applied(
    config: PluginConfig,
    bridge: Bridge,
    host: Host,
    provider: ScimProvider,
    data: Path | None,
    *,
    mark: str | None,
) -> None:
    """Put a DB-less Kong's memory right where it is not; a Kong with a database needs nothing.

    :param mark: What :meth:`~kong_scim.bridge.Bridge.wake` answered for :func:`mark_key`.
    :raises Exception: As :func:`storage_for` and :func:`~.reapply.keep_applied`.
    """
    if host.database == "off" and host.role != "data_plane":
        memory, scope = _memory(data), Scope(host.workspace, config.tenant)
        database = GatewayDatabase(DblessBridge(bridge, memory, scope), host.dialect)
        # Not through that bridge, which would wait for the turn that this has.
        effects = KongEffects(config, bridge, declared=True)
        keep_applied(
            bridge, memory, Tenant(scope, SqlStorage(database, scope, provider), effects), mark
        )


def change_credential(
    config: PluginConfig,
    bridge: Bridge,
    host: Host,
    provider: ScimProvider,
    data: Path | None,
    *,
    step: Upsert | Delete,
) -> None:
    """Give a DB-less Kong a credential, which is kept, or take one away.

    :raises Exception: As :func:`storage_for`, and as a commit does.
    """
    del provider
    scope = Scope(host.workspace, config.tenant)
    dbless = DblessBridge(bridge, _memory(data), scope)
    try:
        dbless.commit([step])
    except BridgeError as error:
        if error.name != "CONFLICT":
            raise
        dbless.commit([step])  # it follows from nothing that was read


def _reached(
    config: PluginConfig, bridge: Bridge, host: Host, data: Path | None
) -> tuple[Scope, Gateway]:
    """Return whose rows these are, and by what they and Kong's consumers are reached."""
    if host.role == "data_plane":
        raise BridgeError("READ_ONLY", DATA_PLANE)
    scope = Scope(host.workspace, config.tenant)
    if host.database != "off":
        return scope, bridge
    return scope, DblessBridge(bridge, _memory(data), scope)


def _memory(data: Path | None) -> Memory:
    if data is None:
        raise NoDataError(
            "This Kong has no database, so the plugin server must keep what lasts: start it with "
            "--data DIR, a directory on a volume of its own"
        )
    return memory(data)


__all__ = [
    "Afterwards",
    "NoDataError",
    "change_credential",
    "check",
    "keep_kong_applied",
    "mark_key",
    "place_of",
    "storage_for",
]
