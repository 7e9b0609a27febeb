"""Directory, projection and bridge put together: one SCIM change is one commit."""

from __future__ import annotations

from scim2_models import ScimProvider

from kong_scim.bridge import Bridge, Host
from kong_scim.config import PluginConfig
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.ports import Scope
from kong_scim.directory.storage import SqlStorage
from kong_scim.lifecycle.events import Origin, Outbox
from kong_scim.projection import check_mapping
from kong_scim.provisioning.effects import KongEffects
from kong_scim.provisioning.gateway import GatewayDatabase


def check(config: PluginConfig, provider: ScimProvider) -> None:
    """Refuse a configuration that no user of this provider can satisfy.

    :raises ~kong_scim.config.ConfigurationError: With the field's name.
    """
    users = Kinds(provider).in_role("User")
    if users is not None:
        check_mapping(config.consumer, users.model)


def storage_for(
    config: PluginConfig, bridge: Bridge, host: Host, provider: ScimProvider, origin: Origin
) -> SqlStorage:
    """Return the tenant's resources, each write of which is a commit with its effects in Kong.

    :param origin: Of the request, for the event that each write leaves in the same commit.
    """
    scope = Scope(host.workspace, config.tenant)
    return SqlStorage(
        GatewayDatabase(bridge, host.dialect),
        scope,
        provider,
        KongEffects(config, bridge),
        Outbox(host.dialect, scope, origin, values=config.events.values),
    )
