"""The statements that read resources and memberships, and those that lock rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
)

from kong_scim.bridge import Dialect, Param, Sql
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.related import NotByIndex, looked_up
from kong_scim.directory.statements import Statement
from kong_scim.directory.tables import members, resources, tenants

CHUNK = 4096
"""The most ids in one statement: SQLite takes 32,766 parameters."""

LOCK_CHUNK = 256
"""The most versions in one guard: SQLite refuses expressions nested over 1,000 deep."""

T = TypeVar("T")

NESTED = members.c.member_type == literal_column("'Group'")
"""The condition that a member is a group. Its value is a literal, so that both planners use the
partial index."""


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Cut a sequence into parts."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def padded(items: Sequence[T]) -> list[T]:
    """Repeat the last item up to a power of two, so that few statements serve every length."""
    if not items:
        return []
    size = 1 << (len(items) - 1).bit_length()
    return [*items, *[items[-1]] * (size - len(items))]


def in_scope(table: FromClause = resources) -> ColumnElement[bool]:
    """Return the condition that a row belongs to the scope."""
    return and_(table.c.workspace == bindparam("workspace"), table.c.tenant == bindparam("tenant"))


_IN_SCOPE_BY_ID = and_(
    *(NotByIndex(resources.c[name]) == bindparam(name) for name in ("workspace", "tenant"))
)
"""The condition that a row which is looked up by its id belongs to the scope.

No index is used for it: SQLite would prefer the index on the scope for some look-ups by id, and
read all rows of the tenant."""

ROW = (
    resources.c.id,
    resources.c.type,
    resources.c.version,
    resources.c.doc,
    resources.c.created,
    resources.c.modified,
)
"""The columns that :meth:`~kong_scim.directory.documents.StoredRow.read` needs."""

_OF_TYPE = resources.c.type == bindparam("type")

ONE = Statement(select(*ROW).where(resources.c.id == bindparam("id"), _OF_TYPE, _IN_SCOPE_BY_ID))
"""Selects the row of a resource, by its ``type`` and ``id``."""

GRAPH_VERSION = Statement(select(tenants.c.graph_version).where(in_scope(tenants)))
"""Selects the version of the tenant's group graph; no row if the tenant has none yet."""

AFTER = Statement(
    select(*ROW)
    .where(_IN_SCOPE_BY_ID, _OF_TYPE, resources.c.id > bindparam("last"))
    .order_by(resources.c.id)
    .limit(bindparam("limit"))
)
"""Selects the next ``limit`` rows of a ``type`` after the ``last`` id, in the order of ids."""

COUNT = Statement(select(func.count().label("total")).where(in_scope(), _OF_TYPE))
"""Counts the resources of a ``type``, as ``total``."""


def edges(database: TenantDatabase, ids: Sequence[str]) -> list[Sql]:
    """Select (member_id, group_id, display) for every group that the given members are in."""
    return _by_ids(_edges, database, ids)


@lru_cache(maxsize=64)
def _edges(count: int) -> Statement:
    seeds = select(members.c.member_id, members.c.group_id)
    seeds = seeds.where(members.c.member_id.in_(_id_params(count)))
    return Statement(lambda dialect: _edges_above(dialect, seeds))


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


def direct_members(database: TenantDatabase, group_ids: Sequence[str]) -> list[Sql]:
    """Select (group_id, id, type, display) of the direct members of groups."""
    return _by_ids(_direct_members, database, group_ids)


@lru_cache(maxsize=64)
def _direct_members(count: int) -> Statement:
    return Statement(
        select(members.c.group_id, resources.c.id, resources.c.type, resources.c.display)
        .join_from(members, resources, resources.c.id == members.c.member_id)
        .where(members.c.group_id.in_(_id_params(count)))
        .order_by(members.c.group_id, members.c.member_id)
    )


def direct_members_of(dialect: Dialect, its: FromClause) -> Select[Any]:
    """Select what :func:`direct_members` selects, for the groups whose ids are the rows of
    ``its``."""
    member = resources.alias("member")
    columns = [members.c.group_id, member.c.id, member.c.type, member.c.display]
    of_group = (members, members.c.group_id == its.c.id)
    found = looked_up(dialect, its, columns, of_group, (member, member.c.id == members.c.member_id))
    return found.order_by(literal_column("1"), literal_column("2"))


def some(database: TenantDatabase, ids: Iterable[str]) -> list[Sql]:
    """Select the rows of resources of any type."""
    return _by_ids(_some, database, ids)


@lru_cache(maxsize=64)
def _some(count: int) -> Statement:
    return Statement(select(*ROW).where(resources.c.id.in_(_id_params(count)), _IN_SCOPE_BY_ID))


def below(database: TenantDatabase, group_ids: Sequence[str]) -> list[Sql]:
    """Select the rows of all members of groups, also of nested groups; some may occur twice."""
    return _by_ids(_below, database, group_ids)


@lru_cache(maxsize=64)
def _below(count: int) -> Statement:
    seeds = select(resources.c.id).where(resources.c.id.in_(_id_params(count)))
    return Statement(lambda dialect: _members_below(dialect, seeds))


def _members_below(dialect: Dialect, seeds: Select[Any]) -> Select[Any]:
    down = seeds.cte("down", recursive=True)
    nested = (members, and_(NESTED, members.c.group_id == down.c.id))
    down = down.union(looked_up(dialect, down, [members.c.member_id], nested))
    member = (members, members.c.group_id == down.c.id)
    its_row = (resources, resources.c.id == members.c.member_id)
    return looked_up(dialect, down, ROW, member, its_row)


def lock(database: TenantDatabase, versions: Mapping[str, int | None]) -> list[Sql]:
    """Lock rows in the order of their ids, and select (id, version) of each.

    The statements fail as guards if a row is missing or has another version.

    :param versions: By id, the version that the row must have, or None for any.
    """
    return [_lock_part(database, part) for part in chunks(sorted(versions.items()), LOCK_CHUNK)]


def _lock_part(database: TenantDatabase, part: Sequence[tuple[str, int | None]]) -> Sql:
    names = padded([name for name, version in part if version is None])
    pairs = padded([(name, version) for name, version in part if version is not None])
    params: dict[str, Param] = {f"id{index}": name for index, name in enumerate(names)}
    for index, (name, version) in enumerate(pairs):
        params |= {f"guarded{index}": name, f"version{index}": version}
    statement = database.bind(_lock(len(names), len(pairs)), **params)
    return replace(statement, rows=len(part), label="version")


@lru_cache(maxsize=256)
def _lock(names: int, pairs: int) -> Statement:
    conditions: list[ColumnElement[bool]] = []
    if names:
        conditions.append(resources.c.id.in_(_id_params(names)))
    for index in range(pairs):
        row = resources.c.id == bindparam(f"guarded{index}")
        conditions.append(and_(row, resources.c.version == bindparam(f"version{index}")))
    return Statement(
        select(resources.c.id, resources.c.version)
        .where(or_(*conditions))
        .order_by(resources.c.id)
        .with_for_update(key_share=True)
    )


def _id_params(count: int) -> list[ColumnElement[Any]]:
    return [bindparam(f"id{index}") for index in range(count)]


def _by_ids(
    of_count: Callable[[int], Statement], database: TenantDatabase, ids: Iterable[str]
) -> list[Sql]:
    statements = []
    for chunk in chunks(sorted(set(ids))):
        named = padded(chunk)
        params = {f"id{index}": each for index, each in enumerate(named)}
        statements.append(database.bind(of_count(len(named)), **params))
    return statements
