"""The statements that count the ACL groups taken from people who stay.

They take what those of :mod:`kong_scim.quarantine.statements` take, and ``taken``, how many the
change at hand takes away; of the configuration ``memberships``, or -1 for half of all, and
``some_memberships``, so many as may be taken away then at least.
"""

from __future__ import annotations

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
from sqlalchemy.dialects.postgresql import Insert

from kong_scim.directory.kinds import KONG_SCHEMA
from kong_scim.directory.ports import HELD
from kong_scim.directory.queries import in_scope
from kong_scim.directory.statements import Statement, insert_where
from kong_scim.directory.tables import losses, quarantines, resources, values
from kong_scim.quarantine.statements import (
    APPROVED_NOW,
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
    """Whether ``taken`` more may go: ``QuarantineConfig.memberships_allowed`` in SQL.

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


PURGE = Statement(forgotten(losses))
"""Forgets losses."""


def _insert_loss(state: str, condition: ColumnElement[bool]) -> Insert:
    """Insert that a change of ``user`` takes memberships away, where a condition holds."""
    return insert_where(
        losses,
        condition,
        id="loss",
        resource_id="user",
        state=literal(state),
        memberships="taken",
        at="now",
    )


def _lost_since() -> ColumnElement[bool]:
    return exists(
        select(literal(1)).where(
            in_scope(losses), losses.c.state == WAITING, losses.c.at >= quarantines.c.since
        )
    )


def _may_lose() -> ColumnElement[bool]:
    held = and_(in_force(), _lost_since())
    return or_(tenant_has(APPROVED_NOW), and_(~tenant_has(held), _may_be_taken()))


LOSE = Statement(_insert_loss(GONE, _may_lose()), rows=1, label=HELD)
"""Writes a loss of memberships down, unless it is too much.

In a quarantine that losses began, or went on with, every one is: whatever is left of what may go is
not for who goes on. In another one they count as ever.
"""

BEGIN = beginning(~_may_be_taken())
"""Puts the tenant in quarantine, if it is not and such a loss is too much."""


def _hold() -> Insert:
    insert = _insert_loss(WAITING, tenant_has(holds()))
    new = {name: insert.excluded[name] for name in ("memberships", "at")}
    return insert.on_conflict_do_update(index_elements=["id"], set_=new)


HOLD = Statement(_hold())
"""Writes down a loss that is held back, of each resource the last one."""

HELD_LOSSES = Statement(
    select(losses)
    .where(in_scope(losses), losses.c.state == WAITING)
    .order_by(losses.c.at, losses.c.id)
    .limit(bindparam("limit"))
)
"""Selects losses that are held back, the first ``limit`` of them."""

MEMBERSHIPS = Statement(
    select(
        select(func.count())
        .select_from(_memberships().subquery("there"))
        .scalar_subquery()
        .label("there"),
        _taken().label("taken"),
    )
)
"""Selects how many memberships there are (``there``), and were taken away (``taken``)."""
