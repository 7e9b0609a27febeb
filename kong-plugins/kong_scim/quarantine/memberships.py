"""The statements that count the ACL groups taken from people who stay.

They take what those of :mod:`kong_scim.quarantine.statements` take, and ``taken``, how many the
change at hand takes away; of the configuration ``memberships``, or -1 for half of all, and
``some_memberships``, so many as may be taken away then at least.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from kong_scim.bridge import Dialect
from kong_scim.directory.deprovisionings import losses, quarantines
from kong_scim.directory.kinds import KONG_SCHEMA
from kong_scim.directory.ports import HELD
from kong_scim.directory.queries import in_scope
from kong_scim.directory.statements import Prepared, insert_into, prepare
from kong_scim.directory.tables import resources, values
from kong_scim.quarantine.statements import (
    APPROVED,
    GONE,
    WAITING,
    beginning,
    forgotten,
    holds,
    in_force,
    tenant_has,
)

ACCESS_GROUPS = f"{KONG_SCHEMA}:accessGroups".lower()
"""Under which name the ACL groups that users have are among the values."""


def _taken() -> ColumnElement[Any]:
    """How many memberships were taken away within the window, by what was not held back.

    After a decision counting begins anew; in a quarantine it goes on.
    """
    decided = case((in_force(), literal("")), else_=quarantines.c.until)
    decided_at = select(decided).where(in_scope(quarantines)).scalar_subquery()
    statement = select(func.coalesce(func.sum(losses.c.memberships), 0)).where(
        in_scope(losses),
        losses.c.state == GONE,
        losses.c.at > bindparam("after"),
        losses.c.at > func.coalesce(decided_at, ""),
    )
    return cast(statement.scalar_subquery(), BigInteger)


def _memberships() -> Select[Any]:
    """Select the memberships that there are: ACL groups by user."""
    return select(literal(1).label("one")).where(
        values.c.attr == literal_column(f"'{ACCESS_GROUPS}'"),
        values.c.resource_id == resources.c.id,
        in_scope(resources),
    )


def _may_be_taken() -> ColumnElement[bool]:
    """Whether ``taken`` more may go: ``QuarantineDecisions.memberships_allowed`` in SQL.

    Those that went within the window are among those of which it is a share.
    """
    taken, all_ = _taken(), func.count()
    there = select(all_).select_from(_memberships().subquery("there")).scalar_subquery()
    more = taken + bindparam("taken")
    return or_(
        and_(bindparam("memberships") >= 0, more <= bindparam("memberships")),
        and_(
            bindparam("memberships") < 0,
            or_(more <= bindparam("some_memberships"), more * 2 <= there + taken),
        ),
    )


@lru_cache(maxsize=4)
def purge(dialect: Dialect) -> Prepared:
    """Forget losses."""
    return prepare(forgotten(losses), dialect)


@lru_cache(maxsize=4)
def lose(dialect: Dialect) -> Prepared:
    """Write a loss of memberships down, unless it is too much.

    In a quarantine that losses began, or went on with, every one is: whatever is left of what may
    go is not for who goes on. In another one they count as ever.
    """
    approved = and_(in_force(), quarantines.c.state == APPROVED)
    held = and_(in_force(), _lost_since())
    passes = or_(tenant_has(approved), and_(~tenant_has(held), _may_be_taken()))
    row = select(*_loss(GONE)).where(passes)
    statement = insert_into(dialect, losses).from_select(losses.c.keys(), row)
    return prepare(statement, dialect, rows=1, label=HELD)


def _lost_since() -> ColumnElement[bool]:
    return exists(
        select(literal(1)).where(
            in_scope(losses), losses.c.state == WAITING, losses.c.at >= quarantines.c.since
        )
    )


@lru_cache(maxsize=4)
def begin(dialect: Dialect) -> Prepared:
    """Put the tenant in quarantine, if it is not and such a loss is too much."""
    return beginning(dialect, ~_may_be_taken())


@lru_cache(maxsize=4)
def hold(dialect: Dialect) -> Prepared:
    """Write down a loss that is held back, of each resource the last one."""
    row = select(*_loss(WAITING)).where(tenant_has(holds()))
    statement = insert_into(dialect, losses).from_select(losses.c.keys(), row)
    new = {name: statement.excluded[name] for name in ("memberships", "at")}
    return prepare(statement.on_conflict_do_update(index_elements=["id"], set_=new), dialect)


@lru_cache(maxsize=4)
def held(dialect: Dialect) -> Prepared:
    """Select losses that are held back, the first ``limit`` of them."""
    statement = (
        select(losses)
        .where(in_scope(losses), losses.c.state == WAITING)
        .order_by(losses.c.at, losses.c.id)
        .limit(bindparam("limit"))
    )
    return prepare(statement, dialect)


def _loss(state: str) -> list[ColumnElement[Any]]:
    given: dict[str, Any] = {
        "id": bindparam("loss", type_=losses.c.id.type),
        "workspace": bindparam("workspace", type_=losses.c.workspace.type),
        "tenant": bindparam("tenant", type_=losses.c.tenant.type),
        "resource_id": bindparam("user", type_=losses.c.resource_id.type),
        "state": literal(state),
        "memberships": bindparam("taken", type_=losses.c.memberships.type),
        "at": bindparam("now", type_=losses.c.at.type),
    }
    return [given[column.name] for column in losses.c]


@lru_cache(maxsize=4)
def memberships(dialect: Dialect) -> Prepared:
    """Select how many memberships there are (``there``), and were taken away (``taken``)."""
    there = select(func.count()).select_from(_memberships().subquery("there")).scalar_subquery()
    return prepare(select(there.label("there"), _taken().label("taken")), dialect)
