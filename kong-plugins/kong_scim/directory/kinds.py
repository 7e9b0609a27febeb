"""Maps each resource type to its role in the directory: user, group, or neither."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from scim2_models import Resource, ResourceType, ScimProvider

USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
KONG_SCHEMA = "urn:ietf:params:scim:schemas:extension:kong:2.0:User"
"""The extension whose value the directory takes from an :class:`.Outcome`, never from a client."""

Role = Literal["User", "Group"]


@dataclass(frozen=True)
class Kind:
    """A resource type with its model and its role in memberships.

    :param name: The value of ``meta.resourceType``, and of the column ``type``.
    :param endpoint: The path without slashes, such as ``Users``, with which a relative reference
        starts.
    :param has_record: Whether the resource has the read-only Kong extension.
    """

    name: str
    endpoint: str
    model: type[Resource[Any]]
    role: Role | None
    has_record: bool

    @property
    def computed(self) -> str | None:
        """The attribute that is computed from membership rows and never stored in a document."""
        return {"User": "groups", "Group": "members", None: None}[self.role]


class Kinds:
    """The kinds of a provider's resource types. Making them takes as long as a request."""

    def __init__(self, provider: ScimProvider) -> None:
        self._kinds = {str(each.name): _kind(provider, each) for each in provider.resource_types}
        self._roles = {kind.role: kind for kind in self._kinds.values() if kind.role}

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def of(self, resource_type: ResourceType | str) -> Kind:
        """Return the kind of a resource type, or of its name."""
        if isinstance(resource_type, ResourceType):
            resource_type = str(resource_type.name)
        return self._kinds[resource_type]

    def in_role(self, role: Role) -> Kind:
        """Return the kind of this provider's users, or of its groups."""
        return self._roles[role]


def _kind(provider: ScimProvider, resource_type: ResourceType) -> Kind:
    model = provider.model_for(resource_type)
    if model is None or not issubclass(model, Resource):
        raise TypeError(f"the provider has no model for {resource_type.name}")
    schema = str(resource_type.schema_).lower()
    role: Role | None = None
    if schema == USER_SCHEMA.lower():
        role = "User"
    elif schema == GROUP_SCHEMA.lower():
        role = "Group"
    return Kind(
        name=str(resource_type.name),
        endpoint=str(resource_type.endpoint).strip("/"),
        model=model,
        role=role,
        has_record=role == "User"
        and KONG_SCHEMA.lower() in map(str.lower, model.get_extension_models()),
    )
