"""Whether a user may have the names it wants for its consumer, and whose they are if not."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from scim2_models import UniquenessException

from kong_scim.bridge import Consumer
from kong_scim.config import PluginConfig
from kong_scim.projection import Wanted
from kong_scim.projection.consumer import SUSPENDED, USER_TAG
from kong_scim.projection.names import shown
from kong_scim.projection.steps import is_reserved

logger = logging.getLogger(__name__)


Names: TypeAlias = Mapping[tuple[str, str | None], Consumer]
"""Consumers by field (``username`` or ``custom_id``) and value."""


def by_name(consumers: Iterable[Consumer]) -> Names:
    """Return consumers by their names."""
    return {
        (field, value): consumer
        for consumer in consumers
        for field, value in (("username", consumer.username), ("custom_id", consumer.custom_id))
        if value is not None
    }


def claim(
    config: PluginConfig, wanted: Wanted, names: Names, *, first: bool, declared: bool = False
) -> Wanted:
    """Return what is wanted, with the id of the consumer that is taken over where one is.

    Names of consumers are unique in a workspace of Kong, and nothing that SCIM did not create is
    taken over unless ``adopt: link`` says so; then by username alone, and only by a user that has
    no consumer: a rename would leave the one it has behind.

    :param names: Those of Kong's consumers that have a name like one that is wanted, or more.
    :param first: Whether the user has no consumer, or none any more.
    :param declared: Whether what SCIM did not create is of a declarative configuration, which is
        then the only place that may change it (a DB-less Kong).
    :raises ~scim2_models.UniquenessException: When somebody else has one of the names (409).
    """
    holder = names.get(("username", wanted.username))
    if holder is not None and holder.id != wanted.id:
        linked = first and config.adopt == "link" and not (declared or holder.declared)
        if not linked or any(map(is_reserved, holder.tags)):
            raise taken(config, "username", wanted.username, holder, first=first, declared=declared)
        logger.info("user %s: consumer %s is adopted by its username", wanted.user_id, holder.id)
        wanted = replace(wanted, id=holder.id)
    holder = names.get(("custom_id", wanted.custom_id))
    if holder is not None and holder.id != wanted.id:
        raise taken(config, "custom_id", wanted.custom_id, holder, first=first, declared=declared)
    return wanted


def taken(
    config: PluginConfig,
    field: str,
    value: str | None,
    holder: Consumer,
    *,
    first: bool,
    declared: bool,
) -> UniquenessException:
    """Return the refusal of a name that somebody has, which says who (409)."""
    attribute = config.consumer.username if field == "username" else config.consumer.custom_id
    whose = (
        f"The {field} {shown(value or '')} (from `{attribute}`) belongs to consumer {_name(holder)}"
    )
    tenants = [
        tag.removeprefix("scim:")
        for tag in holder.tags
        if tag.startswith("scim:") and tag not in {SUSPENDED, config.tag()}
    ]
    users = [tag.removeprefix(USER_TAG) for tag in holder.tags if tag.startswith(USER_TAG)]
    if holder.declared:  # whatever tags it was given
        tenants, users = [], []
    if tenants:
        why = (
            f"of the SCIM tenant {shown(tenants[0])}. "
            "Change one of the two, or map another attribute"
        )
    elif not holder.declared and any(map(is_reserved, holder.tags)):
        user = users[0] if users else "that is not known any more"
        why = f"of the user {user}. Change one of the two, or map an attribute that is unique"
    elif declared or holder.declared:
        why = (
            "that the gateway's declarative configuration declares, and which can be changed only "
            "there. Rename one of the two, or remove that one"
        )
    elif field == "username" and first and config.adopt == "refuse":
        why = (
            "that SCIM did not create. Rename one of the two, or set `adopt: link` in the "
            "configuration to take that consumer over"
        )
    else:
        why = "that SCIM did not create. Rename one of the two"
    return UniquenessException(detail=f"{whose} {why}.", attribute=attribute, value=value)


def _name(consumer: Consumer) -> str:
    name = consumer.username or consumer.custom_id
    return f"{shown(name)} ({consumer.id})" if name else consumer.id
