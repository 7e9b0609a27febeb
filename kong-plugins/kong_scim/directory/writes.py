"""Collects the writing statements of one change, guards first, and commits them.

Every change locks rows in the same order (the tenant, then resources by id), so that two changes
do not deadlock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from scim2_models import UniquenessException
from sqlalchemy import (
    BigInteger,
    Delete,
    Double,
    Integer,
    Text,
    Update,
    and_,
    bindparam,
    delete,
    select,
    tuple_,
    update,
)

from kong_scim.bridge import (
    BridgeError,
    Dialect,
    RowCountError,
    Scalar,
    Sql,
    Step,
    StepResult,
    TransactionConflictError,
)
from kong_scim.directory import queries
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.kinds import Kind
from kong_scim.directory.ports import HELD, REFUSED, Conflict, HeldBackError
from kong_scim.directory.statements import (
    Statement,
    insert_into,
    is_one_of_rows,
    json_rows,
    parameters,
    rows_of_json,
)
from kong_scim.directory.stored_row import Document, StoredRow
from kong_scim.directory.tables import members, resources, tenants, unique, values
from kong_scim.directory.values import Value, rows, uniques


class Writes:
    """Collects the statements of a change, and commits them with its other steps."""

    def __init__(self, database: TenantDatabase) -> None:
        self._database = database
        self._first: list[Sql] = []
        self._tenant: list[Sql] = []
        self._locks: dict[str, int | None] = {}
        self._steps: list[Sql] = []
        self._claimed: dict[str, str] = {}
        self._updated: list[tuple[Scalar, ...]] = []
        self._gone_values: list[tuple[str, str]] = []
        self._new_values: list[tuple[Scalar, ...]] = []

    # -- Guards -----------------------------------------------------------

    def first(self, guard: Sql) -> None:
        """Run a guard before all other statements."""
        self._first.append(guard)

    def hold_graph(self, version: int | None) -> None:
        """Guard that no group was renamed, deleted or nested since the graph was read.

        :param version: The version that was read; None if the tenant has no row yet.
        """
        self._guard_tenant(_HOLD_GRAPH, version)

    def change_graph(self, version: int | None) -> None:
        """Guard the graph as :meth:`hold_graph`, and raise its version, so that the commits of
        others that read it fail."""
        self._guard_tenant(_CHANGE_GRAPH, version)

    def guard(self, versions: Mapping[str, int | None]) -> None:
        """Guard that rows exist at the commit, with these versions where a version is given."""
        for resource_id, version in versions.items():
            if version is not None or resource_id not in self._locks:
                self._locks[resource_id] = version

    # -- Rows -------------------------------------------------------------

    def create(self, kind: Kind, row: StoredRow) -> None:
        """Store a new resource."""
        self._run(
            _INSERT_RESOURCE,
            id=row.id,
            type=row.type,
            created=row.created,
            **_updated_columns(kind, row),
        )
        self._claim(row.id, uniques(kind, row.doc))
        self._new_values += [(row.id, *value) for value in rows(kind, row.doc)]

    def update(self, kind: Kind, before: StoredRow, after: StoredRow) -> None:
        """Store the new state of a resource, whose version must be guarded."""
        columns = _updated_columns(kind, after)
        self._updated.append((after.id, *(columns[name] for name in _UPDATED)))
        old, new = _differing(before.doc, after.doc)
        self._replace_unique(after.id, uniques(kind, old), uniques(kind, new))
        held, wanted = _by_attr(rows(kind, old)), _by_attr(rows(kind, new))
        for attr in {**held, **wanted}:
            if held.get(attr) != wanted.get(attr):
                if attr in held:
                    self._gone_values.append((after.id, attr))
                self._new_values += [(after.id, *value) for value in wanted.get(attr, ())]

    def touch(self, resource_id: str, modified: str) -> int:
        """Raise the version of a resource whose document does not change.

        :return: The index of the new version in the results of :meth:`commit`.
        """
        self._run(_TOUCH, resource=resource_id, modified=modified)
        return len(self._steps) - 1

    def delete(self, resource_id: str) -> None:
        """Delete a resource with its values and memberships."""
        self._run(_DELETE_RESOURCE, resource=resource_id)

    def join(self, group_id: str, kinds: Mapping[str, str]) -> None:
        """Make resources members of a group.

        :param kinds: ``User`` or ``Group``, by the member's id.
        """
        for chunk in queries.chunks(sorted(kinds.items())):
            self._run(_INSERT_MEMBERS, group=group_id, rows=json_rows(chunk))

    def leave(self, group_id: str, ids: Iterable[str]) -> None:
        """Remove members from a group."""
        for chunk in queries.chunks(sorted(ids)):
            self._run(_DELETE_MEMBERS, group=group_id, rows=json_rows([(each,) for each in chunk]))

    # -- Commit -----------------------------------------------------------

    def commit(self, steps: Sequence[Step] = ()) -> list[StepResult]:
        """Apply all collected statements and some more steps, or nothing.

        :return: The results of the statements and of the steps, without the guards.
        :raises Conflict: When a guard failed, or the database reports a conflict.
        :raises ~scim2_models.UniquenessException: When a unique value is taken (409).
        :raises ~kong_scim.directory.ports.HeldBackError: When the deprovisioning guard failed.
        """
        guards = [*self._first, *self._tenant, *queries.lock(self._database, self._locks)]
        try:
            results = self._database.commit([*guards, *self._steps, *self._sets(), *steps])
        except BridgeError as error:
            raise self._translated(error) from error
        return results[len(guards) :]

    def _translated(self, error: BridgeError) -> Exception:
        if isinstance(error, TransactionConflictError):
            return Conflict(detail="Somebody else changed the same resources: try again")
        if not isinstance(error, RowCountError):
            return error
        if error.label == HELD:
            return HeldBackError()
        label = error.label or ""
        taken = self._claimed.get(label)
        if label.startswith(REFUSED):
            taken = label.removeprefix(REFUSED)
        if taken is not None:
            return UniquenessException(detail=taken)
        return Conflict(detail="The resource was changed by somebody else: read it again")

    def _run(self, statement: Statement, **params: Scalar) -> None:
        self._steps.append(self._database.bind(statement, **params))

    def _guard_tenant(self, guard: Statement, version: int | None) -> None:
        if version is None:
            self._tenant.append(self._database.bind(_INSERT_TENANT))
        self._tenant.append(self._database.bind(guard, version=version or 0))

    def _replace_unique(
        self,
        resource_id: str,
        held: Mapping[str, tuple[str, str]],
        wanted: Mapping[str, tuple[str, str]],
    ) -> None:
        gone = [urn for urn, (digest, _) in held.items() if wanted.get(urn, ("",))[0] != digest]
        if gone:
            rows = json_rows([(each,) for each in gone])
            self._run(_DELETE_UNIQUE, resource=resource_id, rows=rows)
        new = {urn: value for urn, value in wanted.items() if held.get(urn, ("",))[0] != value[0]}
        self._claim(resource_id, new)

    def _claim(self, resource_id: str, wanted: Mapping[str, tuple[str, str]]) -> None:
        for urn, (digest, value) in sorted(wanted.items()):
            label = f"unique:{urn}"
            attribute = urn.rpartition(":")[2]
            self._claimed[label] = (
                f"Another resource has the {attribute} {value[:200]!r} already, "
                f"and no two may have the same {attribute}"
            )
            row = self._database.bind(
                _INSERT_UNIQUE, attr=urn, digest=digest, resource_id=resource_id
            )
            self._steps.append(replace(row, label=label))

    def _sets(self) -> Iterator[Sql]:
        """Yield the statements that write the rows of all resources together."""
        for chunk in queries.chunks(self._updated):
            statement = self._database.bind(_UPDATE_RESOURCES, rows=json_rows(chunk))
            yield replace(statement, rows=len(chunk))
        for gone in queries.chunks(self._gone_values):
            yield self._database.bind(_DELETE_VALUES, rows=json_rows(gone))
        for chunk in queries.chunks(self._new_values):
            yield self._database.bind(_INSERT_VALUES, rows=json_rows(chunk))


def _updated_columns(kind: Kind, row: StoredRow) -> dict[str, Scalar]:
    """Return the columns of a resource's row that an update writes."""
    return {
        "version": row.version,
        "display": row.display,
        "display_key": row.display_key(kind),
        "doc": row.text,
        "modified": row.modified,
    }


def _differing(before: Document, after: Document) -> tuple[Document, Document]:
    """Return two documents with only those attributes of each that the other has not."""
    old, new = dict(before), dict(after)
    for name in before.keys() & after.keys():
        held, wanted = old[name], new[name]
        if held == wanted:
            del old[name], new[name]
        elif ":" in name and isinstance(held, Mapping) and isinstance(wanted, Mapping):
            old[name], new[name] = _differing(held, wanted)
    return old, new


def _by_attr(found: Iterable[Value]) -> dict[str, list[Value]]:
    grouped: dict[str, list[Value]] = {}
    for value in found:
        grouped.setdefault(value.attr, []).append(value)
    return grouped


_INSERT_TENANT = Statement(
    insert_into(tenants)
    .values(**parameters("workspace", "tenant"), graph_version=0)
    .on_conflict_do_nothing()
)

_AT_VERSION = and_(queries.in_scope(tenants), tenants.c.graph_version == bindparam("version"))

_HOLD_GRAPH = Statement(
    select(tenants.c.graph_version).where(_AT_VERSION).with_for_update(read=True),
    rows=1,
    label="graph",
)

_CHANGE_GRAPH = Statement(
    update(tenants).where(_AT_VERSION).values(graph_version=tenants.c.graph_version + 1),
    rows=1,
    label="graph",
)

_INSERT_RESOURCE = Statement(insert_into(resources))

_INSERT_UNIQUE = Statement(insert_into(unique).on_conflict_do_nothing(), rows=1)

_THE_RESOURCE = resources.c.id == bindparam("resource")

_UPDATED = ("version", "display", "display_key", "doc", "modified")


def _update_resources(dialect: Dialect) -> Update:
    new = rows_of_json(dialect, Text, BigInteger, Text, Text, Text, Text).subquery("new")
    columns = {name: new.c[f"c{index}"] for index, name in enumerate(_UPDATED, start=1)}
    return update(resources).where(resources.c.id == new.c.c0).values(columns)


_UPDATE_RESOURCES = Statement(_update_resources, label="version")

_TOUCH = Statement(
    update(resources)
    .where(_THE_RESOURCE)
    .values(version=resources.c.version + 1, **parameters("modified"))
    .returning(resources.c.version),
    rows=1,
    label="version",
)

_DELETE_RESOURCE = Statement(delete(resources).where(_THE_RESOURCE), rows=1, label="version")


_INSERT_MEMBERS = Statement(
    lambda dialect: (
        insert_into(members)
        .from_select(
            ["group_id", "member_id", "member_type"],
            rows_of_json(dialect, bindparam("group"), Text, Text),
        )
        .on_conflict_do_nothing()
    )
)

_DELETE_MEMBERS = Statement(
    lambda dialect: delete(members).where(
        members.c.group_id == bindparam("group"),
        is_one_of_rows(dialect, members.c.member_id),
    )
)

_DELETE_UNIQUE = Statement(
    lambda dialect: delete(unique).where(
        unique.c.resource_id == bindparam("resource"),
        is_one_of_rows(dialect, unique.c.attr),
    )
)


def _delete_values(dialect: Dialect) -> Delete:
    pairs = rows_of_json(dialect, Text, Text)
    if dialect == "sqlite":
        return delete(values).where(tuple_(values.c.resource_id, values.c.attr).in_(pairs))
    gone = pairs.subquery("gone")
    return delete(values).where(values.c.resource_id == gone.c.c0, values.c.attr == gone.c.c1)


_DELETE_VALUES = Statement(_delete_values)

_INSERT_VALUES = Statement(
    lambda dialect: insert_into(values).from_select(
        ["resource_id", *Value._fields],
        rows_of_json(dialect, Text, Text, Integer, Integer, Text, Text, Double, Integer),
    )
)
