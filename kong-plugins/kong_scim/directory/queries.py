"""The statements that read resources and memberships, and those that lock rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
)

from kong_scim.bridge import Dialect, Sql
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.related import InOrder, NotByIndex, looked_up
from kong_scim.directory.statements import Statement, json_rows, rows_of_json
from kong_scim.directory.tables import members, resources, tenants

CHUNK = 4096
"""The most rows that one statement writes, so that it takes a part of its time limit."""

T = TypeVar("T")

NESTED = members.c.member_type == literal_column("'Group'")
"""The condition that a member is a group. Its value is a literal, so that both planners use the
partial index."""


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Cut a sequence into parts."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def in_scope(table: FromClause = resources) -> ColumnElement[bool]:
    """Return the condition that a row belongs to the scope."""
    return and_(table.c.workspace == bindparam("workspace"), table.c.tenant == bindparam("tenant"))


IN_SCOPE_BY_ID = and_(
    *(NotByIndex(resources.c[name]) == bindparam(name) for name in ("workspace", "tenant"))
)
"""The condition that a row which is looked up by its id belongs to the scope.

No index is used for it. Without statistics, as between an import and the next ANALYZE, both
databases would prefer the index on the scope, and read all rows of the tenant for each id."""

ROW = (
    resources.c.id,
    resources.c.type,
    resources.c.version,
    resources.c.doc,
    resources.c.created,
    resources.c.modified,
)
"""The columns that :meth:`~kong_scim.directory.stored_row.StoredRow.read` needs."""

_OF_TYPE = resources.c.type == bindparam("type")

ONE = Statement(select(*ROW).where(resources.c.id == bindparam("id"), _OF_TYPE, IN_SCOPE_BY_ID))
"""Selects the row of a resource, by its ``type`` and ``id``."""

GRAPH_VERSION = Statement(select(tenants.c.graph_version).where(in_scope(tenants)))
"""Selects the version of the tenant's group graph; no row if the tenant has none yet."""

AFTER = Statement(
    lambda dialect: (
        select(*ROW)
        .where(
            # PostgreSQL estimates by this condition how many ids it must read.
            IN_SCOPE_BY_ID if dialect == "sqlite" else in_scope(),
            _OF_TYPE,
            resources.c.id > bindparam("last"),
        )
        .order_by(resources.c.id)
        .limit(bindparam("limit"))
    )
)
"""Selects the next ``limit`` rows of a ``type`` after the ``last`` id, in the order of ids."""

COUNT = Statement(select(func.count().label("total")).where(in_scope(), _OF_TYPE))
"""Counts the resources of a ``type``, as ``total``."""


def edges(database: TenantDatabase, ids: Iterable[str]) -> list[Sql]:
    """Select (member_id, group_id, display) for every group that the given members are in."""
    return _by_ids(_EDGES, database, ids)


def edges_of(dialect: Dialect, its: FromClause) -> Select[Any]:
    """Select what :func:`edges` selects, for the members whose ids are the rows of ``its``."""
    pair = [members.c.member_id, members.c.group_id]
    of_member = (members, members.c.member_id == its.c.id)
    return _edges_above(dialect, looked_up(dialect, its, pair, of_member))


def _edges_above(dialect: Dialect, seeds: Select[Any]) -> Select[Any]:
    up = seeds.cte("up", recursive=True)
    above = members.alias("above")
    pair = [above.c.member_id, above.c.group_id]
    up = up.union(looked_up(dialect, up, pair, (above, above.c.member_id == up.c.group_id)))
    its_row = (resources, resources.c.id == up.c.group_id)
    group = looked_up(dialect, up, [resources.c.display], its_row)
    return group.add_columns(up.c.member_id, up.c.group_id)


def direct_members(database: TenantDatabase, group_ids: Iterable[str]) -> list[Sql]:
    """Select (group_id, id, type, display) of the direct members of groups."""
    return _by_ids(_DIRECT_MEMBERS, database, group_ids)


def direct_members_of(dialect: Dialect, its: FromClause) -> Select[Any]:
    """Select what :func:`direct_members` selects, for the groups whose ids are the rows of
    ``its``."""
    pair = [members.c.group_id, members.c.member_id]
    of_group = (members, members.c.group_id == its.c.id)
    found = looked_up(dialect, its, pair, of_group).subquery("found")
    member = resources.alias("member")
    columns = [member.c.id, member.c.type, member.c.display]
    rows = looked_up(dialect, found, columns, (member, member.c.id == found.c.member_id))
    return rows.add_columns(found.c.group_id).order_by(found.c.group_id, found.c.member_id)


def some(database: TenantDatabase, ids: Iterable[str]) -> list[Sql]:
    """Select the rows of resources of any type."""
    return _by_ids(_SOME, database, ids)


def below(database: TenantDatabase, group_ids: Iterable[str]) -> list[Sql]:
    """Select the rows of all members of groups, also of nested groups; some may occur twice."""
    return _by_ids(_BELOW, database, group_ids)


def _members_below(dialect: Dialect, seeds: Select[Any]) -> Select[Any]:
    down = seeds.cte("down", recursive=True)
    nested = (members, and_(NESTED, members.c.group_id == down.c.id))
    down = down.union(looked_up(dialect, down, [members.c.member_id], nested))
    member = (members, members.c.group_id == down.c.id)
    its_row = (resources, resources.c.id == members.c.member_id)
    return looked_up(dialect, down, ROW, member, its_row)


def lock(database: TenantDatabase, versions: Mapping[str, int | None]) -> list[Sql]:
    """Lock rows in the order of their ids, and select (id, version) of each.

    The statement fails as a guard if a row is missing or has another version.

    :param versions: By id, the version that the row must have, or None for any.
    """
    if not versions:
        return []
    statement = database.bind(_LOCK, rows=json_rows(sorted(versions.items())))
    return [replace(statement, rows=len(versions), label="version")]


def _lock(dialect: Dialect) -> Select[Any]:
    wanted = rows_of_json(dialect, Text, BigInteger).subquery("wanted")
    tie = resources.c.id == wanted.c.c0
    in_order = InOrder(wanted, resources, tie)
    source = in_order if dialect == "sqlite" else wanted.join(resources, tie)
    return (
        select(resources.c.id, resources.c.version)
        .select_from(source)
        .where(or_(wanted.c.c1.is_(None), resources.c.version == wanted.c.c1))
        .order_by(resources.c.id)
        .with_for_update(key_share=True, of=resources)
    )


def _ids(dialect: Dialect) -> CTE:
    """Return the rows of ``rows``, which are ids, as the column ``id``."""
    rows = rows_of_json(dialect, Text).subquery("row")
    return select(rows.c.c0.label("id")).cte("its")


def _some(dialect: Dialect) -> Select[Any]:
    its = _ids(dialect)
    return looked_up(
        dialect, its, ROW, (resources, and_(resources.c.id == its.c.id, IN_SCOPE_BY_ID))
    )


_EDGES = Statement(lambda dialect: edges_of(dialect, _ids(dialect)))
_DIRECT_MEMBERS = Statement(lambda dialect: direct_members_of(dialect, _ids(dialect)))
_SOME = Statement(_some)
_BELOW = Statement(lambda dialect: _members_below(dialect, select(_ids(dialect).c.id)))
_LOCK = Statement(_lock)


def _by_ids(statement: Statement, database: TenantDatabase, ids: Iterable[str]) -> list[Sql]:
    rows = [(each,) for each in sorted(set(ids))]
    return [database.bind(statement, rows=json_rows(rows))] if rows else []
