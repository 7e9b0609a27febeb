"""Writes users, and all other resources except groups."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scim2_models import InvalidValueException, Resource, UniquenessException

from kong_scim.directory import queries
from kong_scim.directory.context import DirectoryContext, existing_row, graph_of
from kong_scim.directory.documents import (
    StoredRow,
    document,
    group_values,
    model,
    record_of,
    with_record,
)
from kong_scim.directory.kinds import Kind
from kong_scim.directory.ports import (
    Change,
    Conflict,
    Entry,
    GroupRef,
    Operation,
    Outcome,
    UserChange,
    UserState,
)
from kong_scim.directory.values import instant
from kong_scim.directory.writes import Writes


class Users:
    """Creates, replaces and deletes users, each with its steps in Kong in one commit."""

    def __init__(self, context: DirectoryContext) -> None:
        self._context = context

    def create(self, kind: Kind, resource: Resource[Any]) -> Resource[Any]:
        """Store a new user.

        Kong is read only if the commit is refused without that.

        :raises ~scim2_models.UniquenessException: When a unique value is taken.
        """
        return self._create(kind, resource, names_are_free=True)

    def _create(
        self, kind: Kind, resource: Resource[Any], *, names_are_free: bool
    ) -> Resource[Any]:
        moment = instant(self._context.clock())
        doc = with_record(kind, document(kind, resource), None)
        row = StoredRow(self._context.new_id(), kind.name, 1, doc, moment, moment)
        change = self._change("create", kind, row.id, None, UserState(model(kind, row)))
        change = replace(change, names_are_free=names_are_free)
        outcome = self._outcome(kind, change)
        row = replace(row, doc=with_record(kind, doc, outcome.records.get(row.id)))
        created = model(kind, row)
        writes = Writes(self._context.database)
        writes.create(kind, row, created)
        entry = Entry(change, outcome, None, row.doc, version_after=row.version)
        try:
            self._context.commit(writes, entry)
        except (Conflict, InvalidValueException, UniquenessException):
            if not outcome.unread:
                raise
            # What Kong has decides what to answer, or which consumer the user takes over.
            return self._create(kind, resource, names_are_free=False)
        return created

    def update(
        self,
        kind: Kind,
        resource: Resource[Any],
        expected_version: str | None,
        operation: Operation,
    ) -> Resource[Any]:
        """Replace a user.

        :raises ~scim2_models.NotFoundException: When the user does not exist.
        :raises Conflict: When the user has another version, now or at the commit.
        :raises ~scim2_models.UniquenessException: When a unique value is taken.
        """
        row, groups = self._current(kind, str(resource.id), expected_version)
        before = model(kind, row)
        doc = with_record(kind, document(kind, resource), record_of(row.doc))
        changed = row.changed(doc=doc, now=self._context.clock())
        change = self._change(
            operation,
            kind,
            row.id,
            UserState(before, groups),
            UserState(model(kind, changed), groups),
        )
        outcome = self._outcome(kind, change)
        record = outcome.records.get(row.id, record_of(row.doc))
        changed = replace(changed, doc=with_record(kind, doc, record))
        writes = Writes(self._context.database)
        writes.guard({row.id: row.version})
        writes.update(kind, changed, before, model(kind, changed))
        entry = Entry(change, outcome, row.doc, changed.doc, row.version, changed.version)
        self._context.commit(writes, entry)
        return model(kind, changed, groups=self._shown(groups))

    def refresh(self, kind: Kind, resource_id: str, operation: Operation) -> Resource[Any] | None:
        """Repair a user's consumer, though the user does not change.

        :return: The user if its Kong extension changed, or None.
        :raises ~scim2_models.NotFoundException: When the user does not exist.
        :raises Conflict: When the user changes meanwhile.
        """
        row, groups = self._current(kind, resource_id, None)
        state = UserState(model(kind, row), groups)
        change = self._change(operation, kind, row.id, state, state)
        outcome = self._outcome(kind, change)
        record = outcome.records.get(row.id)
        if not outcome.steps and record is None:
            return None
        writes = Writes(self._context.database)
        writes.guard({row.id: row.version})
        after = row
        if record is not None:
            after = row.changed(doc=with_record(kind, row.doc, record), now=self._context.clock())
            writes.update(kind, after, state.user, model(kind, after))
        entry = Entry(change, outcome, row.doc, after.doc, row.version, after.version)
        self._context.commit(writes, entry)
        return None if record is None else model(kind, after, groups=self._shown(groups))

    def delete(self, kind: Kind, resource_id: str, expected_version: str | None) -> None:
        """Delete a user; the groups that it was in get new versions.

        :raises ~scim2_models.NotFoundException: When the user does not exist.
        :raises Conflict: When the user has another version, now or at the commit.
        """
        row, groups = self._current(kind, resource_id, expected_version)
        before = UserState(model(kind, row), groups)
        change = self._change("delete", kind, row.id, before, None)
        outcome = self._outcome(kind, change)
        direct = sorted(group.id for group in groups if group.direct)
        moment = instant(self._context.clock())
        writes = Writes(self._context.database)
        writes.guard({row.id: row.version, **dict.fromkeys(direct)})
        for group_id in direct:
            writes.touch(group_id, moment)
        writes.delete(row.id)
        self._context.commit(writes, Entry(change, outcome, row.doc, None, row.version))

    def _current(
        self, kind: Kind, resource_id: str, expected_version: str | None
    ) -> tuple[StoredRow, tuple[GroupRef, ...]]:
        context = self._context
        edges = queries.edges(context.database, [resource_id]) if kind.role == "User" else []
        rows, above = context.read(context.one(kind, resource_id), edges)
        row = existing_row(kind, resource_id, rows, expected_version)
        return row, graph_of(above).groups_of(row.id)

    @staticmethod
    def _change(
        operation: Operation,
        kind: Kind,
        resource_id: str,
        before: UserState | None,
        after: UserState | None,
    ) -> Change:
        users = (UserChange(resource_id, before, after),) if kind.role == "User" else ()
        return Change(operation, kind.name, resource_id, users)

    def _outcome(self, kind: Kind, change: Change) -> Outcome:
        return self._context.consumer_sync.of(change) if kind.role == "User" else Outcome()

    def _shown(self, groups: tuple[GroupRef, ...]) -> list[dict[str, Any]]:
        return group_values(self._context.kinds.in_role("Group"), groups)
