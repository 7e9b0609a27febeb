"""Works out which consumer a user should be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from scim2_models import InvalidValueException, Path, Resource, Returned

from kong_scim.config.plugin import ConfigurationError, ConsumerMapping, PluginConfig
from kong_scim.sync.names import access_groups, legal, shown

MANAGED = "scim"
"""The tag of everything SCIM created or took over."""
SUSPENDED = "scim:suspended"
"""The tag of a consumer that the guard refuses."""
USER_TAG = "scim-user:"
"""Before the SCIM id of a consumer's user, in a tag."""
REVOKED_TAG = "scim-revoked-at:"
"""Before the moment when access was revoked last, in seconds since the epoch, in a tag: the guard
refuses sessions and tokens from before it."""


@dataclass(frozen=True)
class Wanted:
    """The consumer a user should be, with its ACL groups.

    :param id: The consumer's id: the user's own, or that of an adopted consumer.
    :param present: Whether there should be a consumer at all. False for a deleted user, and for an
        inactive one with ``on_deactivate: delete``; everything below is empty then.
    :param manages_custom_id: Whether ``custom_id`` is SCIM's to write; else what is there stays.
    :param suspended: Whether the guard must refuse the consumer.
    :param keeps_credentials: Whether it keeps its credentials while it is suspended.
    :param returning: Whether it was suspended until now.
    :param groups: Its ACL groups, sorted.
    :param revoked_at: When its access was revoked last; None for never.
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

    @property
    def owner_tags(self) -> tuple[str, ...]:
        """The tags of everything that belongs to this tenant, ACL groups included."""
        return (MANAGED, f"scim:{self.tenant}")

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the consumer itself; legal in Kong, since a user's id is a UUID."""
        own = (*self.owner_tags, f"{USER_TAG}{self.user_id}")
        if self.revoked_at is not None:
            own = (*own, f"{REVOKED_TAG}{int(self.revoked_at.timestamp())}")
        return (*own, SUSPENDED) if self.suspended else own


def wanted(
    config: PluginConfig,
    user: Resource[Any],
    group_names: Iterable[str],
    *,
    consumer_id: str | None = None,
    returning: bool = False,
    revoked_at: datetime | None = None,
) -> Wanted:
    """Return the consumer a user should be.

    A user without ``active`` is not active: one that is created without it gets it, so that it was
    removed since (RFC 7643 §4.1.1 gives no default). An inactive user has no groups, whatever
    ``on_deactivate`` says; their names are not even looked at, so that none of them can stand in
    the way of a deactivation.

    :param group_names: The displayName of each group the user is in, nested ones flattened.
    :param consumer_id: The id of the consumer that the user has already.
    :param returning: Whether the user was inactive until now, if it is active.
    :param revoked_at: When its access was revoked last.
    :raises ~scim2_models.InvalidValueException: When the user has no name for its consumer, or one
        that cannot be used.
    """
    user_id = user.id or ""
    active = getattr(user, "active", None) is True
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
        groups=access_groups(config, user, group_names) if active else (),
        returning=active and returning,
        revoked_at=revoked_at,
    )


def gone(config: PluginConfig, user_id: str, consumer_id: str | None) -> Wanted:
    """Return that a user should have no consumer."""
    return Wanted(id=consumer_id or user_id, user_id=user_id, tenant=config.tenant, present=False)


def names_of(mapping: ConsumerMapping, user: Resource[Any]) -> tuple[str | None, str | None]:
    """Return a user's values for ``username`` and ``custom_id``, unchecked; None where absent."""
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
def _path(text: str) -> Path[Any]:
    return Path(text)


def _value(text: str, user: Resource[Any]) -> str | None:
    value = _path(text).get(user, strict=False)
    return None if value is None or value == "" else str(value)


def _legal_name(value: str, attribute: str, field: str) -> str:
    if not value:
        raise InvalidValueException(
            detail=f"`{attribute}` is missing: it becomes the `{field}` of the consumer in Kong, "
            "so give it a value."
        )
    subject = f"`{attribute}` becomes the `{field}` {shown(value)} of the consumer in Kong"
    if value != value.strip():
        # A header's reader drops blanks at the ends: "alice " would be alice to an upstream.
        raise InvalidValueException(
            detail=f"{subject}, which begins or ends with a blank: take it away."
        )
    return legal(value, subject, f"change `{attribute}`")
