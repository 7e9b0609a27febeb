"""Where resources are kept, and what every write of them needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scim2_models import NotFoundException

from kong_scim.bridge import Sql, StepResult, Undo
from kong_scim.directory import queries
from kong_scim.directory.documents import Row
from kong_scim.directory.graph import Graph
from kong_scim.directory.kinds import Kind, Kinds
from kong_scim.directory.ports import (
    Conflict,
    Database,
    Effects,
    Entry,
    HeldBackError,
    Journal,
    Safety,
    Scope,
)
from kong_scim.directory.writes import Writes

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """One scope of a database.

    :param clock: This moment, in UTC.
    :param new_id: An id that no resource has.
    :param dry_run: Whether nothing of a change is kept but what the journal says of it.
    """

    db: Database
    scope: Scope
    kinds: Kinds
    effects: Effects
    journal: Journal
    safety: Safety
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    dry_run: bool = False

    def read(self, *parts: Sequence[Sql]) -> list[Rows]:
        """Run several groups of statements in one step, and return the rows of each group."""
        found = iter(self.db.query([statement for part in parts for statement in part]))
        return [[row for _ in part for row in next(found)] for part in parts]

    def one(self, kind: Kind, resource_id: str) -> list[Sql]:
        """Select a resource's row."""
        return [queries.one(self.db.dialect, self.scope, kind.name, resource_id)]

    def graph_version(self) -> list[Sql]:
        """Select what :func:`version_of` reads."""
        return [queries.graph_version(self.db.dialect, self.scope)]

    def writes(self) -> Writes:
        """Begin a change."""
        return Writes(self.db, self.scope)

    def commit(self, writes: Writes, entry: Entry) -> list[StepResult]:
        """Commit a change with what it entails, and with what the journal says of it.

        :return: As :meth:`Writes.commit` does, which also says what is raised.
        :raises Exception: What the safety net says where it holds the change back.
        """
        for guard in self.safety.guards(entry.change):
            writes.first(guard)
        undo = [Undo()] if self.dry_run else []
        try:
            return writes.commit([*entry.outcome.steps, *undo, *self.journal.of(entry)])
        except HeldBackError:
            held = self.safety.hold(entry.change)
        raise held


def found(kind: Kind, resource_id: str, rows: Rows, expected_version: str | None = None) -> Row:
    """Return the row of a resource that must be there.

    :raises ~scim2_models.NotFoundException: When it is not.
    :raises Conflict: When it is not at the version that is expected.
    """
    if not rows:
        raise NotFoundException(detail=f"{kind.name} {resource_id[:200]!r} not found")
    row = Row.read(rows[0])
    if expected_version is not None and row.etag != expected_version:
        raise Conflict(detail="The resource was changed by somebody else: read it again")
    return row


def graph_of(*edges: Rows) -> Graph:
    """Return the graph of what ``queries.edges`` selects."""
    return Graph.from_edges(
        (edge["member_id"], edge["group_id"], edge["display"] or "")
        for rows in edges
        for edge in rows
    )


def version_of(rows: Rows) -> int | None:
    """Return the version of the tenant's graph, or None where the tenant has no row yet."""
    return int(rows[0]["graph_version"]) if rows else None
