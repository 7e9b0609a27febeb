"""The resource types that are served (Users, Groups, Events), their extensions, and the
capabilities.

The models are those of scim2-models (RFC 7643 §8), with the few differences that real directories
need; each says which.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from operator import or_
from typing import Annotated, Any, ClassVar

import scim2_models
from pydantic import Field
from scim2_models import (
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    ETag,
    Extension,
    External,
    Filter,
    Mutability,
    Pagination,
    Patch,
    Reference,
    Resource,
    ResourceType,
    Returned,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    reference,
)
from scim2_models.attributes import ExtensibleStringEnum
from scim2_models.resources.resource import AnyExtension

from kong_scim.config.plugin import PluginConfig
from kong_scim.protocol.event_resource import Event
from kong_scim.protocol.extensions import SchemaFile, schema_files


def _adapt_scim2_models() -> None:
    """Let scim2-models copy values that are not canonical, and take relative references.

    Python before 3.11.4 copies a member of an enum by its name, which a value such as the type
    ``office`` of an e-mail does not have; this is what Python does since.

    A relative reference is a reference too (RFC 3986 §4.1), which scim2-models takes only where it
    starts with a slash; :mod:`kong_scim.protocol.leniency.values` says what is none.
    """
    ExtensibleStringEnum.__deepcopy__ = _itself  # type: ignore[method-assign,assignment]
    reference._validate_uri = _taken


def _itself(member: ExtensibleStringEnum, _memo: Any) -> ExtensibleStringEnum:
    return member


def _taken(value: str) -> None:
    """Leave a reference as it is."""


_adapt_scim2_models()


class Email(scim2_models.Email):
    # EmailStr refuses special-use domains, which companies use (corp.local), and rewrites what was
    # sent; a provider that reads its own value back changed sends it again for ever.
    value: str | None = None
    """Email address of the user, as it was sent."""


class Manager(ComplexAttribute):
    # RFC 7643 §8.7.1 requires neither; Entra and Okta send the value without $ref.
    value: Annotated[str | None, CaseExact.true] = None
    """The id of the SCIM resource representing the User's manager."""

    # The name, not the class: a reference to what is not defined yet leaves the model incomplete.
    ref: Annotated[
        Reference["User"] | None,  # type: ignore[type-arg]  # noqa: UP037
        Mutability.read_write,
    ] = Field(None, serialization_alias="$ref", validation_alias="$ref")
    """The URI of the SCIM resource representing the User's manager."""

    display_name: Annotated[str | None, Mutability.read_only] = None
    """The displayName of the User's manager."""


class EnterpriseUser(scim2_models.EnterpriseUser):
    """The enterprise extension of RFC 7643 §4.3."""

    manager: Manager | None = None  # type: ignore[assignment]
    """The User's manager."""


class User(scim2_models.User[AnyExtension]):
    """A person, or a service, that may become a consumer of the gateway (RFC 7643 §4.1)."""

    emails: list[Email] | None = None  # type: ignore[assignment]
    """Email addresses for the user."""

    Emails: ClassVar[type[ComplexAttribute]] = Email


class GroupMember(scim2_models.GroupMember):
    # Its name is the directory's to say, and costs a look-up of each member: only for who asks.
    display: Annotated[str | None, Mutability.read_only, Returned.request] = None
    """What the member is called; only returned where ``members.display`` is asked for."""


class Group(scim2_models.Group):
    """A group of users and of other groups (RFC 7643 §4.2)."""

    members: list[GroupMember] | None = None  # type: ignore[assignment]
    """The members of the group."""

    Members: ClassVar[type[ComplexAttribute]] = GroupMember


Model = type[Resource[Any]] | type[Extension]

RESOURCES: dict[str, type[Resource[Any]]] = {"User": User, "Group": Group}
BUILT_IN_EXTENSIONS: dict[str, tuple[type[Extension], ...]] = {"User": (EnterpriseUser,)}

POLICY = ScimPolicy(
    # JumpCloud, OneLogin, Google, Ping, SailPoint, Keycloak and authentik send schemas and
    # attributes of their own with every resource
    # (docs/providers/traffic.md#attributes-nobody-knows).
    unknown=ScimPolicy.Unknown.ignore,
    # Entra names the members to remove in the value
    # (docs/providers/traffic.md#members-in-the-value).
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    # Entra replaces emails[type eq "work"].value of a user that has none
    # (docs/providers/traffic.md#entries-that-are-not-there).
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)


def provider(config: PluginConfig) -> ScimProvider:
    """Describe the service of one plugin instance.

    :raises ~kong_scim.config.plugin.ConfigurationError: When a schema file is broken, with its
        name.
    """
    models, resource_types = _catalog(schema_files())
    return ScimProvider(
        models=models,
        resource_types=resource_types,
        config=service_provider_config(config),
        policy=POLICY,
    )


@lru_cache(maxsize=4)
def _catalog(files: tuple[SchemaFile, ...]) -> tuple[tuple[Model, ...], tuple[ResourceType, ...]]:
    """Build the models once for all instances: pydantic takes tenths of a second for them."""
    extensions: dict[str, list[type[Extension]]] = {
        name: list(BUILT_IN_EXTENSIONS.get(name, ())) for name in RESOURCES
    }
    for file in files:
        extensions[file.resource].append(file.extension(RESOURCES[file.resource], extensions))
    resource_types = []
    for name, model in RESOURCES.items():
        union: Any = reduce(or_, extensions[name]) if extensions[name] else Any
        resource_types.append(ResourceType.from_resource(model.__class_getitem__(union)))
    resource_types.append(ResourceType.from_resource(Event))
    bare: list[Model] = [*RESOURCES.values(), Event]
    bare += [each for group in extensions.values() for each in group]
    return tuple(bare), tuple(resource_types)


def service_provider_config(config: PluginConfig) -> ServiceProviderConfig:
    """Return what the service can do; clients choose PUT, PATCH and bulk by it.

    See docs/providers/traffic.md#clients-believe-the-configuration.
    """
    return ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(
            supported=True,
            max_operations=config.max_operations,
            max_payload_size=config.max_body_size,
        ),
        filter=Filter(supported=True, max_results=config.max_results),
        # A password that is sent is accepted and forgotten: the gateway has no use for it.
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=True),
        etag=ETag(supported=True),
        pagination=Pagination(
            cursor=True,
            index=True,
            default_pagination_method=Pagination.DefaultPaginationMethod.index,
            default_page_size=config.max_results,
            max_page_size=config.max_results,
        ),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="OAuth Bearer Token",
                description="One of the bearer tokens that the plugin is configured with",
                spec_uri=Reference[External]("https://www.rfc-editor.org/rfc/rfc6750"),
                primary=True,
            )
        ],
    )
