"""Works out which consumer a user should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from scim2_models import InvalidValueException, Path, Resource, Returned

from kong_scim.config.groups import Kind, TargetChoice
from kong_scim.config.plugin import ConfigurationError, ConsumerMapping, PluginConfig
from kong_scim.directory.kinds import USER_SCHEMA
from kong_scim.directory.stored_row import StoredRow
from kong_scim.sync.names import access_groups, legal, shown

MANAGED = "scim"
"""The tag of every entity that SCIM created or adopted."""
SUSPENDED = "scim:suspended"
"""The tag of a consumer that the guard refuses."""
USER_TAG = "scim-user:"
"""The prefix of the tag with the SCIM id of a consumer's user."""
GROUP_TAG = "scim-group:"
"""The prefix of the tag for a membership of a consumer that SCIM gave and that has no tags."""
REVOKED_TAG = "scim-revoked-at:"
"""The prefix of the tag with the time of the last revocation, in seconds since the epoch. The guard
refuses older sessions and tokens."""


_ACL_GROUPS = TargetChoice()


@dataclass(frozen=True)
class Wanted:
    """The consumer a user should be, with its groups.

    :param id: The consumer's id: that of the user, or that of an adopted consumer.
    :param present: Whether the user should have a consumer. False for a deleted user, and for an
        inactive one with ``on_deactivate: delete``; then the other fields have their defaults.
    :param manages_custom_id: Whether SCIM writes ``custom_id``; otherwise Kong's value stays.
    :param suspended: Whether the guard must refuse the consumer.
    :param keeps_credentials: Whether it keeps its credentials while it is suspended.
    :param returning: Whether it was suspended until now.
    :param groups: The names of its groups, sorted.
    :param revoked_at: When its access was revoked last; None for never.
    :param choice: What each group is in Kong.
    """

    id: str
    user_id: str
    tenant: str
    present: bool = True
    username: str | None = None
    custom_id: str | None = None
    manages_custom_id: bool = True
    suspended: bool = False
    keeps_credentials: bool = False
    returning: bool = False
    groups: tuple[str, ...] = ()
    revoked_at: datetime | None = None
    choice: TargetChoice = _ACL_GROUPS

    def groups_of(self, kind: Kind) -> tuple[str, ...]:
        """Return its groups of one kind."""
        return tuple(name for name in self.groups if self.choice.has(name, kind))

    @property
    def owner_tags(self) -> tuple[str, ...]:
        """The tags of every entity of this tenant: consumers and groups."""
        return (MANAGED, f"scim:{self.tenant}")

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the consumer. They are legal in Kong, because a user's id is a UUID."""
        tags = (*self.owner_tags, f"{USER_TAG}{self.user_id}")
        if self.revoked_at is not None:
            tags = (*tags, f"{REVOKED_TAG}{int(self.revoked_at.timestamp())}")
        return (*tags, SUSPENDED) if self.suspended else tags


def wanted(
    config: PluginConfig,
    user: StoredRow,
    group_names: Iterable[str],
    *,
    consumer_id: str | None = None,
    returning: bool = False,
    revoked_at: datetime | None = None,
) -> Wanted:
    """Return the consumer a user should be.

    A user without ``active`` is not active: a user that is created without it gets it, so it was
    removed later (RFC 7643 §4.1.1 defines no default). An inactive user has no groups, whatever
    ``on_deactivate`` says. Their names are not checked, so that none can prevent a deactivation.

    :param group_names: The displayName of each group the user is in, nested ones flattened.
    :param consumer_id: The id of the consumer that the user has already, or None.
    :param returning: Whether the user was inactive until now.
    :param revoked_at: When its access was revoked last; None for never.
    :raises ~scim2_models.InvalidValueException: When the user has no name for its consumer, or one
        that cannot be used.
    """
    user_id = user.id
    active = user.doc.get("active") is True
    if not active and config.on_deactivate == "delete":
        return replace(gone(config, user_id, consumer_id), revoked_at=revoked_at)
    username, custom_id = names_of(config.consumer, user)
    return Wanted(
        id=consumer_id or user_id,
        user_id=user_id,
        tenant=config.tenant,
        username=_legal_name(username or "", config.consumer.username, "username"),
        custom_id=custom_id
        and _legal_name(custom_id, config.consumer.custom_id or "", "custom_id"),
        manages_custom_id=config.consumer.custom_id is not None,
        suspended=not active,
        keeps_credentials=config.on_deactivate == "suspend",
        groups=access_groups(config, user.doc, group_names) if active else (),
        returning=active and returning,
        revoked_at=revoked_at,
        choice=config.groups.targets,
    )


def gone(config: PluginConfig, user_id: str, consumer_id: str | None) -> Wanted:
    """Return the value for a user that should have no consumer."""
    return Wanted(id=consumer_id or user_id, user_id=user_id, tenant=config.tenant, present=False)


def names_of(mapping: ConsumerMapping, user: StoredRow) -> tuple[str | None, str | None]:
    """Return a user's values for ``username`` and ``custom_id``, unchecked, or None for each."""
    return (
        _value(mapping.username, user),
        _value(mapping.custom_id, user) if mapping.custom_id else None,
    )


@lru_cache(maxsize=64)
def check_mapping(mapping: ConsumerMapping, user_model: type[Resource[Any]]) -> None:
    """Refuse a mapping that no user of this model can satisfy.

    :raises ConfigurationError: For an attribute that the model does not have, that holds several
        values or none that is text, or that is never shown (a password).
    """
    for field, text in (("username", mapping.username), ("custom_id", mapping.custom_id)):
        if text is None:
            continue
        binding = Path(text).resolve(user_model)
        problem = None
        if binding is None:
            problem = "no schema of a user has this attribute"
        elif binding.is_multivalued or binding.target_is_multivalued:
            problem = "the attribute holds several values, and a consumer has one name"
        elif not (isinstance(binding.target_type, type) and issubclass(binding.target_type, str)):
            problem = "the attribute is not text"
        elif (
            binding.target_model is not None
            and binding.target_model.get_field_annotation(binding.target_field_name, Returned)
            is Returned.never
        ):
            problem = "the attribute is a secret"
        if problem:
            raise ConfigurationError(f"config.consumer.{field}: {text!r} cannot be used: {problem}")


@lru_cache(maxsize=64)
def _names_in(text: str) -> tuple[str, ...]:
    """Return the names under which a document has an attribute, which may be of another case."""
    path: Path[Any] = Path(text)
    names = ((path.schema,) if path.schema else ()) + path.parts
    return names[1:] if names[0].lower() == USER_SCHEMA.lower() else names


def _value(text: str, user: StoredRow) -> str | None:
    return next(iter(values_of(text, user)), None)


def values_of(text: str, user: StoredRow) -> list[str]:
    """Return the values of an attribute, one of each entry if it has several entries."""
    names = _names_in(text)
    found: list[Any] = [user.doc]
    if names[0].lower() in ("id", "meta"):
        meta = {"resourceType": user.type, "version": user.etag}
        found = [{"id": user.id, "meta": meta}]
    for name in names:
        found = [value for each in found for value in _of_name(each, name)]
    return [str(value) for value in found if value != ""]


def _of_name(holder: Any, name: str) -> list[Any]:
    """Return the values that an object or a list of objects has under a name, in whatever case."""
    if isinstance(holder, list):
        return [value for each in holder for value in _of_name(each, name)]
    if not isinstance(holder, Mapping):
        return []
    value = holder.get(name)
    if value is None:
        named = (each for key, each in holder.items() if key.lower() == name.lower())
        value = next(named, None)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _legal_name(value: str, attribute: str, field: str) -> str:
    if not value:
        raise InvalidValueException(
            detail=f"`{attribute}` is missing: it becomes the `{field}` of the consumer in Kong, "
            "so give it a value."
        )
    subject = f"`{attribute}` becomes the `{field}` {shown(value)} of the consumer in Kong"
    if value != value.strip():
        # Blanks at the ends of a header's value are dropped: an upstream would read "alice " as
        # "alice".
        raise InvalidValueException(
            detail=f"{subject}, which begins or ends with a blank: take it away."
        )
    return legal(value, subject, f"change `{attribute}`")
