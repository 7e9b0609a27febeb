"""The directory of one scope: its resources as documents, read and written over SQL."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from scim2_models import ResponseParameters, SearchRequest, TooManyException
from sqlalchemy import bindparam, select

from kong_scim import cpu
from kong_scim.bridge import Sql, StatementTimeoutError
from kong_scim.directory import costs, queries
from kong_scim.directory.compiled_searches import Shape, compiled
from kong_scim.directory.context import DirectoryContext, Rows, existing_row, graph_of
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.documents import Content, Found, Member, shows_memberships
from kong_scim.directory.groups import Groups, member_of
from kong_scim.directory.kinds import Kind, Kinds
from kong_scim.directory.ports import (
    Change,
    ConsumerSync,
    DeprovisioningGuard,
    Entry,
    Operation,
    Outbox,
    Outcome,
)
from kong_scim.directory.search import Position, Search
from kong_scim.directory.statements import Statement, insert_into
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.tables import secrets as tenant_secrets
from kong_scim.directory.users import Precondition, Rewrite, Users
from kong_scim.directory.values import utc_now
from kong_scim.directory.writes import Writes


def new_uuid() -> str:
    """Return a random id."""
    return str(uuid.uuid4())


@dataclass
class Page:
    """A page of a search.

    :param total: How many resources the search finds.
    :param previous: The position of a cursor to the page before, or None; ``next`` likewise.
    """

    total: int
    found: list[Found]
    previous: Any = None
    next: Any = None


class _PageRows(NamedTuple):
    """The rows of a page, and by the name of a resource type the memberships of its resources."""

    total: int
    rows: Rows
    memberships: Mapping[str, Rows]


class Directory:
    """Reads and writes the resources of one scope. Each write is one commit with its steps in Kong.

    Write-only attributes such as ``password`` are not stored, because the gateway does not use
    them. Each method that changes something raises
    :class:`~kong_scim.directory.ports.Conflict` if somebody else changed the same at the same
    moment; then nothing was written, and :func:`.retried` may call it again.

    :param database: The database and the scope; resources of other scopes are not visible.
    :param consumer_sync: Works out the steps in Kong of a change.
    :param outbox: Makes the event of each change.
    :param guard: Refuses changes that take too many people's access away; None for no limit.
    :param dry_run: Whether to roll each change back, except for its event in the outbox.
    """

    def __init__(
        self,
        database: TenantDatabase,
        kinds: Kinds,
        consumer_sync: ConsumerSync,
        outbox: Outbox,
        *,
        guard: DeprovisioningGuard | None = None,
        dry_run: bool = False,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = new_uuid,
    ) -> None:
        self.kinds = kinds
        self._context = DirectoryContext(
            database, self.kinds, consumer_sync, outbox, guard, clock, new_id, dry_run
        )
        self._users = Users(self._context)
        self._groups = Groups(self._context)

    # -- Reading ----------------------------------------------------------

    def get(
        self,
        kind: Kind,
        resource_id: str,
        parameters: ResponseParameters[Any] | None = None,
    ) -> Found:
        """Return a resource, in one step; its memberships are read only if the response has
        them.

        :raises ~scim2_models.NotFoundException: When it does not exist.
        """
        context = self._context
        related = self._related(kind, [resource_id], parameters)
        rows, memberships = context.read(context.one(kind, resource_id), related)
        row = existing_row(kind, resource_id, rows)
        return self._found([row], {kind.name: memberships})[0]

    def search(
        self, kinds: list[Kind], search_request: SearchRequest[Any], *, position: Any = None
    ) -> Page:
        """Return a page, in one step; a second one finds out for a cursor whether there are pages
        before and after it.

        :raises ~scim2_models.TooManyException: When the search would cost too much (:mod:`.costs`),
            or took too long.
        """
        context = self._context
        self._refuse_costly(kinds, search_request)
        database = context.database
        search = Search(database.dialect, database.scope, kinds, search_request)
        by_cursor = search_request.cursor is not None
        start = Position.read(position) if by_cursor and position is not None else None
        if search_request.count == 0:
            (counted,) = context.read([search.total()])
            return Page(int(counted[0]["total"]), [])
        with_memberships = [kind for kind in kinds if shows_memberships(kind, search_request)]
        page = self._read_page(
            start.total if start else search.total(),
            search.page(start),
            {kind.name: search.memberships(kind, start) for kind in with_memberships},
        )
        if start is not None and start.direction == "previous":
            page.rows.reverse()
        result = Page(page.total, self._found(map(StoredRow.read, page.rows), page.memberships))
        if by_cursor and page.rows:
            first, last = page.rows[0], page.rows[-1]
            ends = [
                Position("previous", first["sort_key"], first["id"], page.total),
                Position("next", last["sort_key"], last["id"], page.total),
            ]
            beyond = context.read(*([search.neighbour(end)] for end in ends))
            result.previous, result.next = (
                end.to_json() if rows else None for end, rows in zip(ends, beyond, strict=True)
            )
        return result

    def search_alike(self, shape: Shape, values: Sequence[str], start: int, count: int) -> Page:
        """Return a page of a search whose shape was compiled before, in one step.

        :param values: The values in its filter, in their order.
        :param start: The index of its first resource, from 1.
        """
        database = self._context.database
        found = compiled(database.dialect, database.scope, shape)
        page = self._read_page(
            found.total.bind(values, start, count),
            found.page.bind(values, start, count),
            {name: each.bind(values, start, count) for name, each in found.memberships.items()},
        )
        return Page(page.total, self._found(map(StoredRow.read, page.rows), page.memberships))

    def _read_page(self, total: Sql | int, page: Sql, memberships: Mapping[str, Sql]) -> _PageRows:
        """Return the rows of a page.

        :param total: The statement that counts the results, or their number.
        """
        counting = [] if isinstance(total, int) else [total]
        try:
            counted, rows, *more = self._context.read(
                counting, [page], *([each] for each in memberships.values())
            )
        except StatementTimeoutError as error:
            raise TooManyException(
                detail="The search took too long in the gateway's database and was stopped: narrow "
                "the filter, or ask for a smaller page"
            ) from error
        found = dict(zip(memberships, more, strict=True))
        count = total if isinstance(total, int) else int(counted[0]["total"])
        return _PageRows(count, rows, found)

    def _refuse_costly(self, kinds: list[Kind], search_request: SearchRequest[Any]) -> None:
        weight = max((costs.weight(kind, search_request.filter) for kind in kinds), default=0)
        costs.refuse(weight)
        if weight > costs.FREE:
            database = self._context.database
            counts = database.query(
                [database.bind(queries.COUNT, type=kind.name) for kind in kinds]
            )
            costs.refuse(weight, sum(int(rows[0]["total"]) for rows in counts))

    def _related(
        self, kind: Kind, ids: list[str], parameters: ResponseParameters[Any] | None
    ) -> list[Any]:
        if not ids or kind.role is None or not shows_memberships(kind, parameters):
            return []
        read = queries.edges if kind.role == "User" else queries.direct_members
        return read(self._context.database, ids)

    def _found(self, rows: Iterable[StoredRow], memberships: Mapping[str, Rows]) -> list[Found]:
        graph = graph_of(
            *(found for name, found in memberships.items() if self.kinds.of(name).role == "User")
        )
        members: dict[str, list[Member]] = {}
        for name, entries in memberships.items():
            if self.kinds.of(name).role == "Group":
                for entry in entries:
                    members.setdefault(entry["group_id"], []).append(member_of(self.kinds, entry))
        resources = []
        for row in rows:
            cpu.check()
            kind = self.kinds.of(row.type)
            groups = graph.groups_of(row.id) if kind.role == "User" else ()
            resources.append(Found(kind, row, groups, tuple(members.get(row.id, ()))))
        return resources

    # -- Writing ----------------------------------------------------------

    def create(self, kind: Kind, content: Content) -> Found:
        """Store a new resource.

        :raises ~scim2_models.UniquenessException: When a unique value is taken.
        :raises ~scim2_models.InvalidValueException: When a member does not exist.
        """
        if kind.role == "Group":
            return self._groups.create(kind, content)
        return self._users.create(kind, content.doc)

    def change(
        self,
        kind: Kind,
        resource_id: str,
        rewrite: Rewrite,
        operation: Operation,
        precondition: Precondition,
    ) -> Found:
        """Change a resource, and all members of a group.

        See :meth:`.Users.change` and :meth:`.Groups.change`.
        """
        writer = self._groups if kind.role == "Group" else self._users
        return writer.change(kind, resource_id, rewrite, operation, precondition)

    def patch_group(
        self,
        kind: Kind,
        group_id: str,
        *,
        add: Collection[str] = (),
        remove: Collection[str] = (),
        rewrite: Rewrite | None = None,
        precondition: Precondition | None = None,
    ) -> Found:
        """Add and remove some members of a group, as :meth:`.Groups.patch`.

        The other members are neither read nor written.
        """
        return self._groups.patch(
            kind, group_id, rewrite=rewrite, add=add, remove=remove, precondition=precondition
        )

    def reconcile(self, kind: Kind, user_id: str) -> None:
        """Have Kong's consumer of a user be as it should; do nothing if it is already.

        :raises ~scim2_models.NotFoundException: When the user does not exist.
        """
        self._users.change(kind, user_id, lambda _: None, "reconcile", lambda _: None)

    def apply(self, change: Change, outcome: Outcome) -> None:
        """Commit steps in Kong that belong to no resource, guarded and with an event like a
        change."""
        context = self._context
        context.commit(Writes(context.database), Entry(change, outcome, None, None))

    def delete(self, kind: Kind, resource_id: str, precondition: Precondition) -> None:
        """Delete a resource and its memberships.

        :raises ~scim2_models.NotFoundException: When it does not exist.
        """
        writer = self._groups if kind.role == "Group" else self._users
        writer.delete(kind, resource_id, precondition)

    def secret(self, name: str) -> bytes:
        """Return a secret of the tenant, which is stored so that all nodes have the same one.

        The first call creates it.

        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        database, value = self._context.database, secrets.token_hex(SECRET_BYTES)
        steps = [_INSERT_SECRET, _SECRET]
        *_, found = database.commit([database.bind(each, name=name, value=value) for each in steps])
        return bytes.fromhex(found.data[0]["value"])


SECRET_BYTES = 32

_INSERT_SECRET = Statement(insert_into(tenant_secrets).on_conflict_do_nothing())

_SECRET = Statement(
    select(tenant_secrets.c.value).where(
        queries.in_scope(tenant_secrets), tenant_secrets.c.name == bindparam("name")
    ),
    rows=1,
)
