"""Stores SCIM resources in SQL, as the storage of scim2-server's handler."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from scim2_models import (
    Resource,
    ResourceType,
    ResponseParameters,
    ScimProvider,
    SearchRequest,
    TooManyException,
)
from scim2_server.storage import ScimStorage, SearchPage
from sqlalchemy import bindparam, select

from kong_scim import cpu
from kong_scim.bridge import StatementTimeoutError
from kong_scim.directory import costs, queries
from kong_scim.directory.context import DirectoryContext, Rows, existing_row, graph_of
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.documents import StoredRow, group_values, model, shows_memberships
from kong_scim.directory.groups import Groups, Patch, member_value
from kong_scim.directory.kinds import Kind, Kinds
from kong_scim.directory.ports import ConsumerSync, DeprovisioningGuard, Operation, Outbox
from kong_scim.directory.retries import retried
from kong_scim.directory.search import Position, Search
from kong_scim.directory.statements import Statement, insert_into
from kong_scim.directory.tables import secrets as tenant_secrets
from kong_scim.directory.users import Users
from kong_scim.directory.values import utc_now


def new_uuid() -> str:
    """Return a random id."""
    return str(uuid.uuid4())


class SqlStorage(ScimStorage):
    """Reads and writes the resources of one scope. Each write is one commit with its steps in Kong.

    Write-only attributes such as ``password`` are not stored, because the gateway does not use
    them.

    :param database: The database and the scope; resources of other scopes are not visible.
    :param consumer_sync: Works out the steps in Kong of a change.
    :param outbox: Makes the event of each change.
    :param guard: Refuses changes that take too many people's access away; None for no limit.
    :param dry_run: Whether to roll each change back, except for its event in the outbox.
    """

    supports_cursors = True

    def __init__(
        self,
        database: TenantDatabase,
        provider: ScimProvider,
        consumer_sync: ConsumerSync,
        outbox: Outbox,
        *,
        guard: DeprovisioningGuard | None = None,
        dry_run: bool = False,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = new_uuid,
    ) -> None:
        self._kinds = Kinds(provider)
        self._context = DirectoryContext(
            database, self._kinds, consumer_sync, outbox, guard, clock, new_id, dry_run
        )
        self._users = Users(self._context)
        self._groups = Groups(self._context)

    # -- Reading ----------------------------------------------------------

    def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:
        """Return a resource, in one step; its memberships are read only if the response has
        them."""
        kind, context = self._kinds.of(resource_type), self._context
        related = self._related(kind, [resource_id], response_parameters)
        rows, memberships = context.read(context.one(kind, resource_id), related)
        row = existing_row(kind, resource_id, rows)
        return self._models([row], {kind.name: memberships})[0]

    def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,
    ) -> SearchPage:
        """Return a page. One step selects it; a second one reads memberships, and for a cursor
        whether there are pages before and after it.

        :raises ~scim2_models.TooManyException: When the search would cost too much (:mod:`.costs`),
            or took too long.
        """
        context = self._context
        kinds = [self._kinds.of(each) for each in resource_types]
        self._refuse_costly(kinds, search_request)
        search = Search(context.database, kinds, search_request)
        by_cursor = search_request.cursor is not None
        start = Position.read(position) if by_cursor and position is not None else None
        if search_request.count == 0:
            (counted,) = context.read([search.total()])
            return SearchPage(int(counted[0]["total"]), [])
        try:
            counted, page = context.read([search.total()], [search.page(start)])
        except StatementTimeoutError as error:
            raise TooManyException(
                detail="The search took too long in the gateway's database and was stopped: narrow "
                "the filter, or ask for a smaller page"
            ) from error
        if start is not None and start.direction == "previous":
            page.reverse()
        found_rows = [StoredRow.read(columns) for columns in page]
        ends: list[Position] = []
        if by_cursor and page:
            ends = [
                Position("previous", page[0]["sort_key"], found_rows[0].id),
                Position("next", page[-1]["sort_key"], found_rows[-1].id),
            ]
        related = {
            kind.name: self._related(
                kind, [row.id for row in found_rows if row.type == kind.name], search_request
            )
            for kind in kinds
        }
        second_step = [*([search.neighbour(end)] for end in ends), *related.values()]
        parts = context.read(*second_step) if any(second_step) else [[] for _ in second_step]
        beyond, memberships = parts[: len(ends)], parts[len(ends) :]
        result = SearchPage(
            int(counted[0]["total"]),
            self._models(found_rows, dict(zip(related, memberships, strict=True))),
        )
        if ends:
            result.previous, result.next = (
                end.to_json() if rows else None for end, rows in zip(ends, beyond, strict=True)
            )
        return result

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

    def _models(
        self, rows: Iterable[StoredRow], memberships: Mapping[str, Rows]
    ) -> list[Resource[Any]]:
        group_kind = self._kinds.in_role("Group")
        graph = graph_of(
            *(found for name, found in memberships.items() if self._kinds.of(name).role == "User")
        )
        members: dict[str, list[dict[str, Any]]] = {}
        for name, entries in memberships.items():
            if self._kinds.of(name).role == "Group":
                for entry in entries:
                    value = member_value(self._kinds.of(entry["type"]), entry)
                    members.setdefault(entry["group_id"], []).append(value)
        resources = []
        for row in rows:
            cpu.check()
            kind = self._kinds.of(row.type)
            groups = (
                group_values(group_kind, graph.groups_of(row.id)) if kind.role == "User" else ()
            )
            resources.append(model(kind, row, groups=groups, members=members.get(row.id)))
        return resources

    # -- Writing ----------------------------------------------------------

    def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """Store a new resource.

        :raises ~scim2_models.UniquenessException: When a unique value is taken.
        :raises ~scim2_models.InvalidValueException: When a member does not exist.
        """
        kind = self._kinds.of(resource_type)
        return self._writer(kind).create(kind, resource)

    def update(
        self,
        resource_type: ResourceType,
        resource: Resource[Any],
        *,
        expected_version: str | None = None,
        operation: Operation = "replace",
    ) -> Resource[Any]:
        """Replace a resource.

        :param operation: The client's operation that led to the new state.
        :raises Conflict: When it does not have the expected version, or changes meanwhile.
        """
        kind = self._kinds.of(resource_type)
        return self._writer(kind).update(kind, resource, expected_version, operation)

    def delete(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        expected_version: str | None = None,
    ) -> None:
        """Delete a resource and its memberships.

        :raises Conflict: When it does not have the expected version, or changes meanwhile.
        """
        kind = self._kinds.of(resource_type)
        self._writer(kind).delete(kind, resource_id, expected_version)

    def refresh(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        operation: Operation = "replace",
    ) -> Resource[Any] | None:
        """Repair a user's consumer, after a write that changes nothing of the user.

        :param operation: The client's operation.
        :return: The user if its Kong extension changed, or None.
        :raises Conflict: When the user changes meanwhile.
        """
        kind = self._kinds.of(resource_type)
        return self._users.refresh(kind, resource_id, operation) if kind.role == "User" else None

    def secret(self, name: str) -> bytes:
        """Return a secret of the tenant, which is stored so that all nodes have the same one.

        The first call creates it.

        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        database, value = self._context.database, secrets.token_hex(SECRET_BYTES)
        steps = [_INSERT_SECRET, _SECRET]
        *_, found = database.commit([database.bind(each, name=name, value=value) for each in steps])
        return bytes.fromhex(found.data[0]["value"])

    def patch_members(
        self,
        resource_type: ResourceType,
        group_id: str,
        *,
        add: Collection[str] = (),
        remove: Collection[str] = (),
        patch: Patch | None = None,
        expected_version: str | None = None,
    ) -> Resource[Any]:
        """Add and remove some members of a group, and change its other attributes.

        The other members are neither read nor written. Without an expected version, the change is
        retried after a conflict (:func:`.retried`).

        :param add: Ids of users and groups; those that are members already stay.
        :param remove: Ids; those that are no members are ignored.
        :param patch: The change of other attributes, which gets the group without its members.
        :return: The group, without its members.
        :raises ~scim2_models.InvalidValueException: When a new member does not exist, or is the
            group itself.
        :raises Conflict: When the group does not have the expected version, or too many attempts
            met a conflict.
        """
        kind = self._kinds.of(resource_type)

        def attempt() -> Resource[Any]:
            return self._groups.patch(
                kind,
                group_id,
                patch=patch,
                add=add,
                remove=remove,
                expected_version=expected_version,
            )

        return attempt() if expected_version is not None else retried(attempt)

    def _writer(self, kind: Kind) -> Users | Groups:
        return self._groups if kind.role == "Group" else self._users


SECRET_BYTES = 32

_INSERT_SECRET = Statement(insert_into(tenant_secrets).on_conflict_do_nothing())

_SECRET = Statement(
    select(tenant_secrets.c.value).where(
        queries.in_scope(tenant_secrets), tenant_secrets.c.name == bindparam("name")
    ),
    rows=1,
)
