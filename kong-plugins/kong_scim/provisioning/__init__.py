"""Directory, projection and bridge put together: one SCIM change is one commit."""

from __future__ import annotations

from scim2_models import ScimProvider

from kong_scim.bridge import Bridge, Host
from kong_scim.config import ConfigurationError, PluginConfig
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.ports import Scope
from kong_scim.directory.storage import SqlStorage
from kong_scim.projection import check_mapping
from kong_scim.provisioning.effects import KongEffects
from kong_scim.provisioning.gateway import GatewayDatabase
from kong_scim.scim.errors import ServiceUnavailableException


def storage_for(
    config: PluginConfig, bridge: Bridge, host: Host, provider: ScimProvider
) -> SqlStorage:
    """Return the tenant's resources, each write of which is a commit with its effects in Kong.

    :raises ~kong_scim.scim.errors.ServiceUnavailableException: When no user could ever have the
        attributes that name its consumer (503), so that nobody is told to send what cannot help.
    """
    users = Kinds(provider).in_role("User")
    if users is not None:
        try:
            check_mapping(config.consumer, users.model)
        except ConfigurationError as error:
            raise ServiceUnavailableException(
                detail=f"The plugin scim cannot work: {error}", retry_after=None
            ) from error
    return SqlStorage(
        GatewayDatabase(bridge, host.dialect),
        Scope(host.workspace, config.tenant),
        provider,
        KongEffects(config, bridge),
    )
