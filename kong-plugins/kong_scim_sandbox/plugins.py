"""The plugins that the sandbox has, and their configurations, checked as by Kong's schemas."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kong_scim.config.plugin import PluginConfig
from kong_scim_sandbox.places import Place, written

_log = logging.getLogger(__name__)

_OF_VALIDATOR = "value_error"
"""The type of pydantic's errors that come from validators of :mod:`kong_scim`. Kong's schema has
none of these checks."""


class PluginConfigError(ValueError):
    """A plugin's configuration has a wrong value at ``place``."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_HeaderName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$")]


class KeyAuthConfig(_Config):
    """``kong/plugins/key-auth/schema.lua``, without keys in bodies."""

    key_names: Annotated[list[_HeaderName], Field(min_length=1)] = ["apikey"]
    hide_credentials: bool = False
    key_in_header: bool = True
    key_in_query: bool = True
    key_in_body: Literal[False] = False
    anonymous: str | None = None
    run_on_preflight: bool = True
    realm: str | None = None


class JwtConfig(_Config):
    """``kong/plugins/jwt/schema.lua``, for tokens that come in the header Authorization."""

    key_claim_name: str = "iss"
    claims_to_verify: list[Literal["exp", "nbf"]] = []


class AclConfig(_Config):
    """``kong/plugins/acl/schema.lua``, without authenticated groups."""

    allow: list[str] | None = None
    deny: list[str] | None = None
    hide_groups_header: bool = False
    always_use_authenticated_groups: Literal[False] = False

    @model_validator(mode="after")
    def _allow_or_deny(self) -> AclConfig:
        if (self.allow is None) == (self.deny is None):
            raise ValueError("exactly one of 'config.allow' and 'config.deny' must be set")
        return self


class SessionConfig(_Config):
    """``kong/plugins/session/schema.lua``, with only one field about a session's duration."""

    secret: Annotated[str, Field(min_length=1)]
    storage: Literal["cookie", "kong"] = "cookie"
    cookie_name: str = "session"
    cookie_secure: bool = True
    absolute_timeout: int = 86_400


class LdapAuthConfig(_Config):
    """``kong/plugins/ldap-auth/schema.lua``, without TLS and anonymous consumers."""

    ldap_host: str
    ldap_port: Annotated[int, Field(ge=1, le=65535)] = 389
    base_dn: str
    attribute: str
    header_type: str = "ldap"
    cache_ttl: int = 60
    """It has no effect here: each request asks the directory."""
    timeout: Annotated[int, Field(gt=0)] = 10_000


class BridgeConfig(_Config):
    """``kong/plugins/scim-bridge/schema.lua``."""

    unknown_logins: Literal["allow", "refuse"] = "allow"
    hide_identity_headers: bool = False
    claims: list[Literal["jwt", "jwt-keycloak", "kong-oidc", "openid-connect"]] = []
    claims_headers: list[_HeaderName] = []
    claims_context: list[str] = []
    claims_issuer: str | None = None

    @property
    def hides_headers(self) -> bool:
        """Return whether headers of a client's request are removed."""
        headers = {"kong-oidc", "openid-connect"}.intersection(self.claims)
        return bool(self.hide_identity_headers or self.claims_headers or headers)


class PrometheusConfig(_Config):
    """``kong/plugins/prometheus/schema.lua``, without any of Kong's own metrics."""


class FileLogConfig(_Config):
    """``kong/plugins/file-log/schema.lua``. The file is opened for each record."""

    path: Annotated[str, Field(min_length=1)]
    reopen: bool = False


@dataclass(frozen=True)
class DeclaredPlugin:
    """One plugin on one route.

    :param config: The configuration with defaults. That of ``scim`` is a JSON object whose vault
        references are not resolved.
    """

    name: str
    id: str
    priority: int
    config: Any


PLUGINS: dict[str, tuple[int, type[BaseModel]]] = {
    "session": (1900, SessionConfig),
    "jwt": (1450, JwtConfig),
    "key-auth": (1250, KeyAuthConfig),
    "ldap-auth": (1200, LdapAuthConfig),
    "scim-bridge": (960, BridgeConfig),
    "acl": (950, AclConfig),
    "scim": (755, PluginConfig),
    "prometheus": (13, PrometheusConfig),
    "file-log": (9, FileLogConfig),
}
"""Priority (Kong runs the highest first) and configuration by name."""


def make(name: str, identifier: str, config: dict[str, Any]) -> DeclaredPlugin:
    """Check a configuration, and return the plugin with it.

    :raises PluginConfigError: When Kong's schema would refuse the configuration. What the schema of
        ``scim`` cannot check is logged here, and its instance answers 503 with the reason.
    """
    priority, model = PLUGINS[name]
    try:
        parsed = model.model_validate(config, strict=True, extra="forbid")
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                message = (
                    f"{problem['loc'][-1]}: unknown field, or one that this sandbox does not have"
                )
            if problem["type"] != _OF_VALIDATOR or model is not PluginConfig:
                raise PluginConfigError(problem["loc"], message) from None
            _log.warning("plugin scim: in config.%s: %s", written(problem["loc"]), message)
        return DeclaredPlugin(name, identifier, priority, config)
    if model is PluginConfig:
        defaults = parsed.model_dump()
        filled = {**_filled(defaults, config), "subjects": defaults["subjects"]}
        return DeclaredPlugin(name, identifier, priority, filled)
    return DeclaredPlugin(name, identifier, priority, parsed)


def _filled(defaults: Any, config: Any) -> Any:
    """Return a configuration with the defaults of absent fields, as Kong adds them."""
    if isinstance(defaults, dict) and isinstance(config, dict):
        return defaults | {key: _filled(defaults.get(key), item) for key, item in config.items()}
    return config
