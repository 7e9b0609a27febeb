"""The statements that read."""

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
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from kong_scim.bridge import Dialect, Sql
from kong_scim.directory.ports import Scope
from kong_scim.directory.related import looked_up
from kong_scim.directory.statements import Prepared, prepare
from kong_scim.directory.tables import members, resources, tenants

CHUNK = 4096
"""How many ids one statement names at most: SQLite takes 32,766 parameters."""

LOCK_CHUNK = 256
"""How many versions one statement guards: SQLite refuses expressions nested over 1,000 deep."""

T = TypeVar("T")

NESTED = members.c.member_type == literal_column("'Group'")
"""As a literal, so that both planners see that the partial index applies."""


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


def scope_params(scope: Scope) -> dict[str, str]:
    """Return the values of the parameters that :func:`in_scope` names."""
    return {"workspace": scope.workspace, "tenant": scope.tenant}


def in_scope(table: FromClause = resources) -> ColumnElement[bool]:
    """Return the condition that a row is of the scope."""
    return and_(table.c.workspace == bindparam("workspace"), table.c.tenant == bindparam("tenant"))


def in_scope_by_id(dialect: Dialect) -> ColumnElement[bool]:
    """Return the condition that a row which is looked up by its id is of the scope."""
    if dialect == "postgresql":
        return in_scope()
    # SQLite would take the index on the scope for better than some look-ups by id, and read all
    # rows of the tenant; behind a plus, a column is not looked up by.
    plus: operators.custom_op[Any] = operators.custom_op("+")
    return and_(
        *(
            UnaryExpression[str](resources.c[name], operator=plus) == bindparam(name)
            for name in ("workspace", "tenant")
        )
    )


def one(dialect: Dialect, scope: Scope, kind_name: str, resource_id: str) -> Sql:
    """Select a resource's row."""
    return _one(dialect).bind({**scope_params(scope), "type": kind_name, "id": resource_id})


@lru_cache(maxsize=4)
def _one(dialect: Dialect) -> Prepared:
    statement = select(*row_columns()).where(
        resources.c.id == bindparam("id"),
        resources.c.type == bindparam("type"),
        in_scope_by_id(dialect),
    )
    return prepare(statement, dialect)


def row_columns() -> list[ColumnElement[Any]]:
    """Return the columns :meth:`~kong_scim.directory.documents.StoredRow.read` wants."""
    c = resources.c
    return [c.id, c.type, c.version, c.doc, c.created, c.modified]


def graph_version(dialect: Dialect, scope: Scope) -> Sql:
    """Select the version of the tenant's group graph; no row where nothing was nested yet."""
    return _graph_version(dialect).bind(scope_params(scope))


@lru_cache(maxsize=4)
def _graph_version(dialect: Dialect) -> Prepared:
    return prepare(select(tenants.c.graph_version).where(in_scope(tenants)), dialect)


def edges(dialect: Dialect, ids: Sequence[str]) -> list[Sql]:
    """Select (member_id, group_id, display) for every group above the given members."""
    return _by_ids(_edges, dialect, ids)


@lru_cache(maxsize=64)
def _edges(dialect: Dialect, count: int) -> Prepared:
    seeds = select(members.c.member_id, members.c.group_id)
    seeds = seeds.where(members.c.member_id.in_(_id_params(count)))
    return prepare(_edges_above(dialect, seeds), dialect)


def _edges_above(dialect: Dialect, seeds: Select[Any]) -> Select[Any]:
    up = seeds.cte("up", recursive=True)
    above = members.alias("above")
    pair = [above.c.member_id, above.c.group_id]
    up = up.union(looked_up(dialect, up, pair, (above, above.c.member_id == up.c.group_id)))
    its_row = (resources, resources.c.id == up.c.group_id)
    group = looked_up(dialect, up, [resources.c.display], its_row)
    return group.add_columns(up.c.member_id, up.c.group_id)


def direct_members(dialect: Dialect, group_ids: Sequence[str]) -> list[Sql]:
    """Select (group_id, id, type, display) of the direct members of groups."""
    return _by_ids(_direct_members, dialect, group_ids)


@lru_cache(maxsize=64)
def _direct_members(dialect: Dialect, count: int) -> Prepared:
    statement = (
        select(members.c.group_id, resources.c.id, resources.c.type, resources.c.display)
        .join_from(members, resources, resources.c.id == members.c.member_id)
        .where(members.c.group_id.in_(_id_params(count)))
        .order_by(members.c.group_id, members.c.member_id)
    )
    return prepare(statement, dialect)


def some(dialect: Dialect, scope: Scope, ids: Sequence[str]) -> list[Sql]:
    """Select the rows of resources, of whatever type."""
    return _by_ids(_some, dialect, ids, scope_params(scope))


@lru_cache(maxsize=64)
def _some(dialect: Dialect, count: int) -> Prepared:
    statement = select(*row_columns()).where(
        resources.c.id.in_(_id_params(count)), in_scope_by_id(dialect)
    )
    return prepare(statement, dialect)


def below(dialect: Dialect, group_ids: Sequence[str]) -> list[Sql]:
    """Select the rows of all members of groups, those of nested groups too; some may come twice."""
    return _by_ids(_below, dialect, group_ids)


@lru_cache(maxsize=64)
def _below(dialect: Dialect, count: int) -> Prepared:
    down = (
        select(resources.c.id)
        .where(resources.c.id.in_(_id_params(count)))
        .cte("down", recursive=True)
    )
    nested = (members, and_(NESTED, members.c.group_id == down.c.id))
    down = down.union(looked_up(dialect, down, [members.c.member_id], nested))
    member = (members, members.c.group_id == down.c.id)
    its_row = (resources, resources.c.id == members.c.member_id)
    return prepare(looked_up(dialect, down, row_columns(), member, its_row), dialect)


def lock(dialect: Dialect, versions: Mapping[str, int | None]) -> list[Sql]:
    """Lock rows in the order of their ids, and return (id, version) of each.

    :param versions: By id, the version the row must have, or None where any will do. Fewer rows
        than named means that one is gone, or of another version.
    """
    return [_lock_part(dialect, part) for part in chunks(sorted(versions.items()), LOCK_CHUNK)]


def _lock_part(dialect: Dialect, part: Sequence[tuple[str, int | None]]) -> Sql:
    names = padded([name for name, version in part if version is None])
    pairs = padded([(name, version) for name, version in part if version is not None])
    params: dict[str, Any] = {f"id{index}": name for index, name in enumerate(names)}
    for index, (name, version) in enumerate(pairs):
        params |= {f"guarded{index}": name, f"version{index}": version}
    statement = _lock(dialect, len(names), len(pairs)).bind(params)
    return replace(statement, rows=len(part), label="version")


@lru_cache(maxsize=256)
def _lock(dialect: Dialect, names: int, pairs: int) -> Prepared:
    which: list[ColumnElement[bool]] = []
    if names:
        which.append(resources.c.id.in_(_id_params(names)))
    for index in range(pairs):
        row = resources.c.id == bindparam(f"guarded{index}")
        which.append(and_(row, resources.c.version == bindparam(f"version{index}")))
    statement = (
        select(resources.c.id, resources.c.version)
        .where(or_(*which))
        .order_by(resources.c.id)
        .with_for_update(key_share=True)
    )
    return prepare(statement, dialect)


def after(dialect: Dialect, scope: Scope, kind_name: str, last_id: str, limit: int) -> Sql:
    """Select the rows of a type in the order of their ids, from behind one on."""
    return _after(dialect).bind(
        {**scope_params(scope), "type": kind_name, "last": last_id, "limit": limit}
    )


@lru_cache(maxsize=4)
def _after(dialect: Dialect) -> Prepared:
    statement = (
        select(*row_columns())
        .where(
            in_scope_by_id(dialect),
            resources.c.type == bindparam("type"),
            resources.c.id > bindparam("last"),
        )
        .order_by(resources.c.id)
        .limit(bindparam("limit"))
    )
    return prepare(statement, dialect)


def count(dialect: Dialect, scope: Scope, kind_name: str) -> Sql:
    """Select how many resources of a type there are, as ``total``."""
    return _count(dialect).bind({**scope_params(scope), "type": kind_name})


@lru_cache(maxsize=4)
def _count(dialect: Dialect) -> Prepared:
    statement = select(func.count().label("total")).where(
        in_scope(), resources.c.type == bindparam("type")
    )
    return prepare(statement, dialect)


def _id_params(count: int) -> list[ColumnElement[Any]]:
    return [bindparam(f"id{index}") for index in range(count)]


def _by_ids(
    template: Callable[[Dialect, int], Prepared],
    dialect: Dialect,
    ids: Iterable[str],
    params: dict[str, str] | None = None,
) -> list[Sql]:
    statements = []
    for chunk in chunks(sorted(set(ids))):
        named = padded(chunk)
        values = {f"id{index}": each for index, each in enumerate(named)}
        statements.append(template(dialect, len(named)).bind({**(params or {}), **values}))
    return statements
