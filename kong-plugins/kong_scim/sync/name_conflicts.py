"""Decides whether a user may have the names that it wants for its consumer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from scim2_models import UniquenessException

from kong_scim.bridge import Consumer
from kong_scim.config.plugin import PluginConfig
from kong_scim.spelling import fold
from kong_scim.sync.names import shown
from kong_scim.sync.plan import is_reserved
from kong_scim.sync.wanted import USER_TAG, Wanted

logger = logging.getLogger(__name__)


Names: TypeAlias = Mapping[tuple[str, str | None], Consumer]
"""Consumers by field (``username`` or ``custom_id``) and value."""


def by_name(consumers: Iterable[Consumer]) -> Names:
    """Return the consumers by each of their names."""
    return {
        (field, value): consumer
        for consumer in consumers
        for field, value in (("username", consumer.username), ("custom_id", consumer.custom_id))
        if value is not None
    }


def claim(
    config: PluginConfig, wanted: Wanted, names: Names, *, first: bool, declared: bool = False
) -> Wanted:
    """Return the wanted consumer, with the id of the consumer that it adopts if it adopts one.

    Names of consumers are unique in a workspace of Kong. A consumer that SCIM did not create is
    adopted only with ``adopt: link``, only by its username, and only by a user that has no
    consumer, because a rename would leave a consumer behind. A name that looks the same as the name
    of another consumer is refused as well.

    :param names: The consumers in Kong that have a wanted name or one that looks the same. It may
        have others too.
    :param first: Whether the user has no consumer, or none any more.
    :param declared: Whether consumers that SCIM did not create belong to a declarative
        configuration, which alone may change them (a DB-less Kong).
    :raises ~scim2_models.UniquenessException: When another consumer has one of the names (409).
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
    for field, value in (("username", wanted.username), ("custom_id", wanted.custom_id)):
        holder = names.get((field, fold(value))) if value else None
        if holder is not None and holder.id != wanted.id:
            raise _looks_like(config, field, str(value), holder)
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
    """Return the refusal of a name that another consumer has (409).

    It names the user of that consumer if the user belongs to this tenant. The provider may not know
    the owner of any other consumer, who is only logged.
    """
    attribute = config.consumer.username if field == "username" else config.consumer.custom_id
    name = f"The {field} {shown(value or '')} (from `{attribute}`) belongs to"
    users = [tag.removeprefix(USER_TAG) for tag in holder.tags if tag.startswith(USER_TAG)]
    if config.tag() in holder.tags and not holder.declared:
        user = users[0] if users else "that is not known any more"
        why = (
            f"the consumer of the user {user}. Change one of the two, or map an attribute that is "
            "unique"
        )
    elif not holder.declared and any(map(is_reserved, holder.tags)):
        why = (
            "a consumer that this provider does not manage. Change one of the two, or map another "
            "attribute"
        )
    elif declared or holder.declared:
        why = (
            "a consumer that the gateway's declarative configuration declares, and which can be "
            "changed only there. Rename one of the two, or remove that one"
        )
    elif field == "username" and first and config.adopt == "refuse":
        why = (
            "a consumer that SCIM did not create. Rename one of the two, or set `adopt: link` in "
            "the configuration to take that consumer over"
        )
    else:
        why = "a consumer that SCIM did not create. Rename one of the two"
    _log_holder(config, field, value, holder)
    return UniquenessException(detail=f"{name} {why}.", attribute=attribute, value=value)


def _looks_like(
    config: PluginConfig, field: str, value: str, holder: Consumer
) -> UniquenessException:
    attribute = config.consumer.username if field == "username" else config.consumer.custom_id
    _log_holder(config, field, value, holder)
    return UniquenessException(
        detail=f"The {field} {shown(value)} (from `{attribute}`) looks the same as that of another "
        "consumer, and is another one to Kong. Change one of the two.",
        attribute=attribute,
        value=value,
    )


def _log_holder(config: PluginConfig, field: str, value: str | None, holder: Consumer) -> None:
    """Log which consumer has a name, for the administrator."""
    logger.warning(
        "tenant %s: the %s %s is refused: it is of the consumer %s, whose tags are %s",
        *(config.tenant, field, shown(value or ""), holder.id, sorted(holder.tags)),
    )
