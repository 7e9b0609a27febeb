"""Writes users, and all other resources except groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scim2_models import InvalidValueException, UniquenessException

from kong_scim.directory import queries
from kong_scim.directory.context import DirectoryContext, existing_row, graph_of
from kong_scim.directory.documents import Content, Found, record_of, with_record
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
from kong_scim.directory.stored_row import Document, StoredRow
from kong_scim.directory.values import instant
from kong_scim.directory.writes import Writes

Rewrite = Callable[[Found], Content | None]
"""Returns the new content of a resource, or None if nothing changes. It may raise a SCIM error."""

Precondition = Callable[[str], None]
"""Gets the version of a resource, and raises an error if the change must not be made (If-Match)."""


class Users:
    """Creates, replaces and deletes users, each with its steps in Kong in one commit."""

    def __init__(self, context: DirectoryContext) -> None:
        self._context = context

    def create(self, kind: Kind, doc: Document) -> Found:
        """Store a new user.

        Kong is read only if the commit is refused without that.

        :raises ~scim2_models.UniquenessException: When a unique value is taken.
        """
        return self._create(kind, doc, names_are_free=True)

    def _create(self, kind: Kind, doc: Document, *, names_are_free: bool) -> Found:
        moment = instant(self._context.clock())
        bare = with_record(kind, doc, None)
        row = StoredRow(self._context.new_id(), kind.name, 1, bare, moment, moment)
        change = self._change("create", kind, row.id, None, UserState(row))
        change = replace(change, names_are_free=names_are_free)
        outcome = self._outcome(kind, change)
        row = replace(row, stored=with_record(kind, doc, outcome.records.get(row.id)))
        writes = Writes(self._context.database)
        writes.create(kind, row)
        entry = Entry(change, outcome, None, row.doc, version_after=row.version)
        try:
            self._context.commit(writes, entry)
        except (Conflict, InvalidValueException, UniquenessException):
            if not outcome.unread:
                raise
            # What Kong has decides what to answer, or which consumer the user takes over.
            return self._create(kind, doc, names_are_free=False)
        return Found(kind, row)

    def change(
        self,
        kind: Kind,
        resource_id: str,
        rewrite: Rewrite,
        operation: Operation,
        precondition: Precondition,
    ) -> Found:
        """Change a user. A user that does not change has its consumer repaired.

        So a provider that sends everything again repairs what others changed in Kong: a removed
        consumer comes back, and a disabled user loses a key that somebody gave it meanwhile.

        :raises ~scim2_models.NotFoundException: When the user does not exist.
        :raises Conflict: When the user has another version at the commit.
        :raises ~scim2_models.UniquenessException: When a unique value is taken.
        """
        row, groups = self._current(kind, resource_id, precondition)
        content, moment = rewrite(Found(kind, row, groups)), self._context.clock()
        before = after = UserState(row, groups)
        if content is not None:
            new = row.changed(doc=with_record(kind, content.doc, record_of(row.doc)), now=moment)
            after = UserState(new, groups)
        change = self._change(operation, kind, row.id, before, after)
        outcome = self._outcome(kind, change)
        new = after.row
        if row.id in outcome.records:
            stored = with_record(kind, new.doc, outcome.records[row.id])
            new = row.changed(doc=stored, now=moment)
        elif new is row and not outcome.steps:
            return Found(kind, row, groups)
        writes = Writes(self._context.database)
        writes.guard({row.id: row.version})
        if new is not row:
            writes.update(kind, row, new)
        entry = Entry(change, outcome, row.doc, new.doc, row.version, new.version)
        self._context.commit(writes, entry)
        return Found(kind, new, groups)

    def delete(self, kind: Kind, resource_id: str, precondition: Precondition) -> None:
        """Delete a user; the groups that it was in get new versions.

        :raises ~scim2_models.NotFoundException: When the user does not exist.
        :raises Conflict: When the user has another version at the commit.
        """
        row, groups = self._current(kind, resource_id, precondition)
        change = self._change("delete", kind, row.id, UserState(row, groups), None)
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
        self, kind: Kind, resource_id: str, precondition: Precondition
    ) -> tuple[StoredRow, tuple[GroupRef, ...]]:
        context, is_user = self._context, kind.role == "User"
        edges = queries.edges(context.database, [resource_id]) if is_user else []
        rows, above = context.read(
            context.one(kind, resource_id), edges, consumers=[resource_id] if is_user else ()
        )
        row = existing_row(kind, resource_id, rows)
        precondition(row.etag)
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
