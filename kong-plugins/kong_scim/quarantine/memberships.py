"""The statements that count the memberships of ACL groups that users who stay active lose.

They take the parameters of :mod:`kong_scim.quarantine.statements`, and ``taken``, how many
memberships the change takes away. From the configuration they take ``memberships``, how many may be
taken away, or -1 for half of all, and ``some_memberships``, how many may be in that case at least.
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

from kong_scim.directory.administration_tables import losses, quarantines
from kong_scim.directory.kinds import KONG_SCHEMA
from kong_scim.directory.ports import HELD
from kong_scim.directory.queries import in_scope
from kong_scim.directory.statements import Statement, insert_where
from kong_scim.directory.tables import resources, values
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
"""The ``attr`` of the values that are the ACL groups of users."""


def _taken() -> ColumnElement[Any]:
    """Select how many memberships were taken away within the window.

    After a decision has ended, counting begins anew. During a quarantine it goes on.
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
    """Select one row for each membership of a user in an ACL group."""
    return select(literal(1).label("one")).where(
        values.c.attr == literal_column(f"'{ACCESS_GROUPS}'"),
        values.c.resource_id == resources.c.id,
        in_scope(resources),
    )


def _may_be_taken() -> ColumnElement[bool]:
    """Tell whether ``taken`` more may go: ``QuarantineConfig.memberships_allowed`` in SQL.

    The share is of all memberships that there were when the window began.
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
"""Deletes losses that no longer count."""


def _insert_loss(state: str, condition: ColumnElement[bool]) -> Insert:
    """Insert a loss of memberships by a change of ``user``, if a condition holds."""
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
"""Writes a loss of memberships, unless it exceeds the limit.

In a quarantine that has held back a loss, every loss is held back, also one within the limit. In
any other quarantine losses count as usual.
"""

BEGIN = beginning(~_may_be_taken())
"""Puts the tenant in quarantine, if it is not and the loss exceeds the limit."""


def _hold() -> Insert:
    insert = _insert_loss(WAITING, tenant_has(holds()))
    new = {name: insert.excluded[name] for name in ("memberships", "at")}
    return insert.on_conflict_do_update(index_elements=["id"], set_=new)


HOLD = Statement(_hold())
"""Writes a loss that is held back. Each resource has a row for its last one."""

HELD_LOSSES = Statement(
    select(losses)
    .where(in_scope(losses), losses.c.state == WAITING)
    .order_by(losses.c.at, losses.c.id)
    .limit(bindparam("limit"))
)
"""Selects the first ``limit`` losses that are held back."""

MEMBERSHIPS = Statement(
    select(
        select(func.count())
        .select_from(_memberships().subquery("there"))
        .scalar_subquery()
        .label("there"),
        _taken().label("taken"),
    )
)
"""Selects how many memberships there are (``there``), and how many were taken away (``taken``)."""
