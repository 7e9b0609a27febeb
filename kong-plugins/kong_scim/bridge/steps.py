"""The steps of a commit, and their results, as they travel between the plugin and scim-bridge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True)
class EntityCounts:
    """A parameter whose value the bridge fills in: the entities that this commit has written so
    far.

    Its value is a JSON text with the counts of the entity steps before it in this commit, by
    operation and DAO, such as ``{"revoke": {"keyauth_credentials": 2}, "upsert": {"acls": 1}}``,
    without counts of zero. So a row can say how many credentials the same commit revoked. On the
    wire it is ``{"value": "written"}``.
    """

    value: Literal["written"] = "written"


Param: TypeAlias = Scalar | EntityCounts


@dataclass(frozen=True)
class Sql:
    """A statement on the SCIM tables, as text with ``$1``, ``$2``, ... and their values.

    :param rows: As a step of a commit, how many rows it must touch (or return, for a SELECT). Any
        other number aborts the whole commit with ``ROW_COUNT``.
    :param label: What the guard protects; the error repeats it.
    """

    sql: str
    params: tuple[Param, ...] = ()
    rows: int | None = None
    label: str | None = None
    op: Literal["sql"] = "sql"


@dataclass(frozen=True)
class Upsert:
    """Inserts an entity, or replaces the given fields of the one with its ``id``, through Kong's
    DAO.

    :param unless_present: Whether to do nothing if an entity with the same cache key exists (an ACL
        group that an administrator gave the consumer already).
    :param if_present: Whether to do nothing if no entity with its ``id`` exists.
    """

    dao: str
    entity: Mapping[str, Any]
    unless_present: bool = False
    if_present: bool = False
    op: Literal["upsert"] = "upsert"


@dataclass(frozen=True)
class Delete:
    """Deletes an entity by its id, with all that Kong's schema cascades to. It may be missing."""

    dao: str
    id: str
    op: Literal["delete"] = "delete"


@dataclass(frozen=True)
class Revoke:
    """Deletes the credentials of a consumer, of any kind that Kong knows; the result counts them by
    kind.

    The tokens that OAuth clients have on behalf of the consumer's user are deleted as well.

    :param issued: Whether to keep the credentials, and delete only what was issued to them (an
        OAuth client's tokens and codes).
    """

    consumer: str
    issued: bool = False
    op: Literal["revoke"] = "revoke"


@dataclass(frozen=True)
class LastEventTag:
    """Tags consumers with the event that changed them last; the result has their ids as ``data``.

    :class:`EntityCounts` does not count it.

    :param event: The id of the event; empty to remove the tag.
    :param consumers: The ids of the consumers, some of which may be deleted. None means those that
        an earlier step of this commit wrote, or of which it wrote a group or a credential.
    """

    event: str
    consumers: tuple[str, ...] | None = None
    op: Literal["stamp"] = "stamp"


@dataclass(frozen=True)
class RollbackDryRun:
    """Rolls back what the steps before it wrote. Steps after it, SQL only, are kept.

    So a dry run meets every guard and constraint, and its event is written with the counts of
    :class:`EntityCounts`. A scim-bridge that does not know this step refuses the whole commit.
    """

    op: Literal["undo"] = "undo"


@dataclass(frozen=True)
class Claim:
    """Refuses the commit (``GROUP_TAKEN``) if only others give one of the ACL groups.

    That is so if the group has consumers, and none of its rows has the tag. Until the end of the
    transaction nobody else can claim the same group; tenants that give it already do not wait for
    each other. The step writes nothing, and must come before the steps that give the groups.

    :param groups: For each group its ``name``, the ``key`` that all names share which look the
        same, and ``daos``, the DAOs of its memberships.
    :param tag: The tag of the groups that the tenant gives.
    """

    groups: tuple[Mapping[str, Any], ...]
    tag: str
    op: Literal["claim"] = "claim"


@dataclass(frozen=True)
class Vacant:
    """Refuses the commit (``NAMES_TAKEN``) if a consumer has one of these ids or names.

    The step writes nothing. A change that was planned without reading Kong's consumers begins with
    it.
    """

    id: tuple[str, ...] = ()
    username: tuple[str, ...] = ()
    custom_id: tuple[str, ...] = ()
    op: Literal["vacant"] = "vacant"


@dataclass(frozen=True)
class Retire:
    """Deletes the entity of a group that has no members, if SCIM made it and nothing hangs on it.

    :param dao: The DAO of its memberships.
    :param group: The name of the group.
    :param tag: The tag of the groups that the tenant made; any other group stays.
    """

    dao: str
    group: str
    tag: str
    op: Literal["retire"] = "retire"


Step: TypeAlias = (
    Sql | Upsert | Delete | Revoke | LastEventTag | Claim | Vacant | Retire | RollbackDryRun
)


@dataclass(frozen=True)
class StepResult:
    """The result of one step: the rows that a statement touched and returned, or the number of
    entities by DAO."""

    rows: int = 0
    data: list[dict[str, Any]] = field(default_factory=list)
    entities: dict[str, int] = field(default_factory=dict)


class EntityCounter:
    """Counts the entities that the steps of one commit write, as the value of
    :class:`EntityCounts`."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, op: str, entities: Mapping[str, int]) -> None:
        """Count the entities that a step wrote, by DAO."""
        for dao, count in entities.items():
            of_op = self._counts.setdefault(op, {})
            of_op[dao] = of_op.get(dao, 0) + count

    def text(self) -> str:
        """Return the counts as JSON."""
        return json.dumps(self._counts, separators=(",", ":"))
