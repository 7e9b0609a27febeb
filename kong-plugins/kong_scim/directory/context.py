"""The context of reads and writes: the database, the tenant, and the ports of every write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from scim2_models import InvalidValueException, NotFoundException

from kong_scim.bridge import RollbackDryRun, Sql, StepResult
from kong_scim.directory import queries
from kong_scim.directory.database import Row, TenantDatabase
from kong_scim.directory.graph import Graph
from kong_scim.directory.kinds import Kind, Kinds
from kong_scim.directory.ports import (
    ConsumerSync,
    DeprovisioningGuard,
    Entry,
    HeldBackError,
    Outbox,
)
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.writes import Writes
from kong_scim.spelling import format_character

Rows = list[Row]


@dataclass(frozen=True)
class DirectoryContext:
    """Runs the reads and writes of one tenant in one database.

    :param guard: Refuses changes that take too many people's access away; None for no limit.
    :param clock: Returns the current time in UTC.
    :param new_id: Returns an id that no resource has.
    :param dry_run: Whether to roll a change back, except for its event in the outbox.
    """

    database: TenantDatabase
    kinds: Kinds
    consumer_sync: ConsumerSync
    outbox: Outbox
    guard: DeprovisioningGuard | None
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    dry_run: bool = False

    def read(self, *parts: Sequence[Sql], consumers: Sequence[str] = ()) -> list[Rows]:
        """Run several groups of statements in one step, and return the rows of each group.

        :param consumers: As in :meth:`.Database.query`.
        """
        statements = [statement for part in parts for statement in part]
        found = iter(self.database.query(statements, consumers=consumers))
        return [[row for _ in part for row in next(found)] for part in parts]

    def one(self, kind: Kind, resource_id: str) -> list[Sql]:
        """Return the statement that selects the row of a resource."""
        return [self.database.bind(queries.ONE, type=kind.name, id=resource_id)]

    def commit(self, writes: Writes, entry: Entry) -> list[StepResult]:
        """Commit a change with its steps in Kong and its event.

        :return: As :meth:`Writes.commit`, which raises other errors too.
        :raises Exception: The error of the deprovisioning guard, if it refuses the change.
        """
        refuse_hidden_names(entry)
        outcome = entry.outcome
        if self.guard is not None:
            for step in self.guard.guards(entry.change, outcome.lost):
                writes.first(step)
        undo = [RollbackDryRun()] if self.dry_run else []
        event = self.outbox.of(entry)
        try:
            return writes.commit([*outcome.claims, *outcome.steps, *undo, *event])
        except HeldBackError:
            assert self.guard is not None  # noqa: S101 - only the guard raises this error
            held = self.guard.hold(entry.change, outcome.lost)
        raise held


def refuse_hidden_names(entry: Entry) -> None:
    """Refuse a new name with a format character, which is invisible, so that two names look alike.

    A resource that has such a name already may still be changed, so that it can lose access.

    :raises ~scim2_models.InvalidValueException: With the attribute and the character.
    """
    before, after = entry.before or {}, entry.after or {}
    for name in _NAMES[entry.change.resource_type == "Group"]:
        value = after.get(name)
        if isinstance(value, str) and value != before.get(name):
            hidden = format_character(value)
            if hidden:
                raise InvalidValueException(
                    detail=f"{name} holds the format character {hidden}, which is not shown: "
                    "take it out"
                )


_NAMES = {False: ("userName", "externalId"), True: ("displayName", "externalId")}
"""The attributes that are names: of a group by True, of a user by False."""


def existing_row(kind: Kind, resource_id: str, rows: Rows) -> StoredRow:
    """Return the row of a resource that must exist.

    :raises ~scim2_models.NotFoundException: When it does not exist.
    """
    if not rows:
        raise NotFoundException(detail=f"{kind.name} {resource_id[:200]!r} not found")
    return StoredRow.read(rows[0])


def graph_of(*edges: Rows) -> Graph:
    """Return the graph of the rows that ``queries.edges`` selects."""
    return Graph.from_edges(
        (edge["member_id"], edge["group_id"], edge["display"] or "")
        for rows in edges
        for edge in rows
    )


def version_of(rows: Rows) -> int | None:
    """Return the version of the tenant's graph, or None if the tenant has no row yet."""
    return int(rows[0]["graph_version"]) if rows else None
