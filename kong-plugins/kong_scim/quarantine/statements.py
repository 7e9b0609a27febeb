"""The statements of the deprovisioning guard.

All take the parameters ``workspace``, ``tenant`` and ``now``. Those that count deprovisionings also
take ``after``, the beginning of the window, and ``user``, the id of the user whose deprovisioning
is not counted. Dates are text as :func:`~kong_scim.directory.values.instant` writes it. Only
``workspace`` and ``tenant`` have names of columns, because SQLAlchemy names a value that it embeds
in a statement after its column.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Select,
    Subquery,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import Insert

from kong_scim.directory.administration_tables import deprovisionings, quarantines
from kong_scim.directory.event_tables import outbox
from kong_scim.directory.ports import HELD
from kong_scim.directory.queries import in_scope
from kong_scim.directory.statements import Statement, insert_into, insert_where, parameters
from kong_scim.directory.tables import resources, values

OPEN, QUARANTINED, APPROVED, REJECTED = "open", "quarantined", "approved", "rejected"
GONE, WAITING, BACK = "gone", "held", "back"
"""States of a deprovisioning: done, held back, or undone because the user is active again."""

DECISION = "decision"
"""The label of the step that decides, by which its failure is known."""

FOREVER = "9999-12-31T23:59:59.999999+00:00"


def in_force() -> ColumnElement[bool]:
    """Tell by the tenant's row whether a decision or a quarantine is in force."""
    return quarantines.c.until > bindparam("now")


def tenant_has(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Tell whether the tenant's row meets a condition."""
    return exists(select(literal(1)).where(in_scope(quarantines), condition))


def holds() -> ColumnElement[bool]:
    """Tell by the tenant's row whether everything is held back."""
    return and_(in_force(), quarantines.c.state != APPROVED)


def _counts(at: ColumnElement[Any]) -> ColumnElement[bool]:
    """Tell whether a moment is within the window and after the last decision, so that it counts."""
    until = select(quarantines.c.until).where(in_scope(quarantines)).scalar_subquery()
    return and_(at > bindparam("after"), at > func.coalesce(until, ""))


def _counted() -> Subquery:
    """Count the deprovisionings within the window, without that of ``user``."""
    return (
        select(func.count().label("gone"))
        .where(
            in_scope(deprovisionings),
            deprovisionings.c.state == GONE,
            _counts(deprovisionings.c.at),
            deprovisionings.c.user_id != bindparam("user"),
        )
        .subquery("counted")
    )


def _active_before() -> Select[Any]:
    """Select users who are active, and were when the window began or at a later decision.

    Users who were created or activated since are left out, because they would raise the limit.
    Users who were deprovisioned since are counted as deprovisionings.
    """
    active = select(literal(1)).where(
        values.c.resource_id == resources.c.id,
        values.c.attr == literal_column("'active'"),
        values.c.num == 1,
    )
    changed = select(literal(1)).where(
        in_scope(deprovisionings),
        deprovisionings.c.user_id == resources.c.id,
        _counts(deprovisionings.c.at),
        deprovisionings.c.state.in_([literal(GONE), literal(BACK)]),
    )
    return select(literal(1).label("one")).where(
        in_scope(resources),
        resources.c.type == bindparam("type"),
        resources.c.created <= bindparam("after"),
        exists(active),
        ~exists(changed),
    )


def _one_more(counted: Subquery) -> ColumnElement[bool]:
    """Tell whether one more user may be deprovisioned.

    This is :meth:`~kong_scim.config.quarantine.QuarantineConfig.allowed` in SQL. The user of the
    request is still active, so it is among those who are there. No more users than ``enough`` are
    counted: from there on the share allows more than the number does.
    """
    some = _active_before().limit(bindparam("enough")).subquery("some")
    there = select(func.count()).select_from(some)
    share = (there.scalar_subquery() + counted.c.gone) * bindparam("share")
    return and_(
        counted.c.gone < bindparam("users"),
        or_(
            counted.c.gone < bindparam("at_least"),
            (counted.c.gone + 1) * 100 <= share,
        ),
    )


INSERT_TENANT = Statement(
    insert_into(quarantines)
    .values(
        {
            **{column.name: "" for column in quarantines.c},
            **parameters("workspace", "tenant"),
            "state": OPEN,
            "refused": 0,
        }
    )
    .on_conflict_do_nothing()
)
"""Makes the tenant's row if there is none."""

LOCK = Statement(select(quarantines.c.until).where(in_scope(quarantines)).with_for_update(), rows=1)
"""Locks the tenant's row, so that nobody else writes deprovisionings until the commit."""


def forgotten(table: Table) -> Delete:
    """Delete rows of a table that no longer count, unless a quarantine or decision is in force.

    :param table: Its column ``at`` has the moment of each row.
    """
    old = or_(table.c.at <= bindparam("after"), table.c.at <= quarantines.c.until)
    return delete(table).where(in_scope(table), tenant_has(and_(~in_force(), old)))


PURGE = Statement(forgotten(deprovisionings))
"""Deletes deprovisionings that no longer count."""

PASS_BY = Statement(select(literal(1).label("one")).where(~tenant_has(holds())), rows=1, label=HELD)
"""Lets pass the deprovisioning of a user who does not count, unless everything is held back."""


def _insert_deprovisioning(state: str, condition: ColumnElement[bool], refused: int = 0) -> Insert:
    """Insert the deprovisioning of ``user`` by the operation ``left_by``, if a condition holds."""
    return insert_where(
        deprovisionings,
        condition,
        user_id="user",
        state=literal(state),
        operation="left_by",
        at="now",
        refused=literal(refused),
    )


def _or_update(insert: Insert, where: ColumnElement[bool] | None = None, **new: Any) -> Insert:
    """Have an insert update the deprovisioning of the user if there is one."""
    return insert.on_conflict_do_update(
        index_elements=deprovisionings.primary_key.columns, set_=new, where=where
    )


def _as_of_now(state: str) -> dict[str, Any]:
    return {"state": state, "operation": bindparam("left_by"), "at": bindparam("now")}


COME_BACK = Statement(
    _or_update(
        _insert_deprovisioning(BACK, true()),
        or_(deprovisionings.c.state != GONE, deprovisionings.c.at <= bindparam("after")),
        **_as_of_now(BACK),
    )
)
"""Notes that an inactive user is active again, unless its deprovisioning still counts."""

APPROVED_NOW = and_(in_force(), quarantines.c.state == APPROVED)
"""Tells by the tenant's row whether an approval is in force."""


def _may_deprovision() -> ColumnElement[bool]:
    one_more = _one_more(_counted())
    return or_(tenant_has(APPROVED_NOW), and_(tenant_has(~in_force()), one_more))


DEPART = Statement(
    _or_update(_insert_deprovisioning(GONE, _may_deprovision()), **_as_of_now(GONE)),
    rows=1,
    label=HELD,
)
"""Inserts a deprovisioning, unless it exceeds the limit."""


def beginning(condition: ColumnElement[bool]) -> Statement:
    """Return the statement that puts a tenant in quarantine, if it is not and a condition holds."""
    return Statement(
        update(quarantines)
        .where(in_scope(quarantines), ~in_force(), condition)
        .values(
            state=QUARANTINED,
            until=FOREVER,
            since=bindparam("now"),
            reason=bindparam("why"),
            event_id=bindparam("event"),
            refused=0,
            decided="",
            decided_by="",
        )
    )


def _too_many() -> ColumnElement[bool]:
    counted = _counted()
    return exists(select(literal(1)).select_from(counted).where(~_one_more(counted)))


BEGIN = beginning(_too_many())
"""Puts the tenant in quarantine, if it is not and one more deprovisioning exceeds the limit."""

INSERT_EVENT_OF_BEGINNING = Statement(
    insert_where(
        outbox, exists(select(literal(1)).where(quarantines.c.event_id == bindparam("event")))
    )
)
"""Writes the event of a quarantine's begin, if this commit began it."""

_REJECTED: Any = (quarantines.c.state == REJECTED, bindparam("rejected_until"))

REFUSE = Statement(
    update(quarantines)
    .where(in_scope(quarantines), holds())
    .values(refused=quarantines.c.refused + 1, until=case(_REJECTED, else_=quarantines.c.until))
)
"""Counts a request that is held back. Such a request prolongs a rejection."""

_IS_HELD = deprovisionings.c.state == WAITING

HOLD = Statement(
    _or_update(
        _insert_deprovisioning(WAITING, tenant_has(holds()), refused=1),
        refused=deprovisionings.c.refused + 1,
        operation=case((_IS_HELD, bindparam("left_by")), else_=deprovisionings.c.operation),
        at=case((_IS_HELD, bindparam("now")), else_=deprovisionings.c.at),
    )
)
"""Writes the deprovisioning that a request that is held back would have done."""

STATE = Statement(select(quarantines).where(in_scope(quarantines)))
"""Selects the tenant's row."""

COUNT = Statement(
    select(
        _counted(),
        select(func.count())
        .select_from(_active_before().subquery("there"))
        .scalar_subquery()
        .label("there"),
    )
)
"""Selects how many deprovisionings count (``gone``), and how many other users were active
(``there``)."""

TOTALS = Statement(
    select(deprovisionings.c.state, deprovisionings.c.operation, func.count().label("total"))
    .where(in_scope(deprovisionings))
    .group_by(deprovisionings.c.state, deprovisionings.c.operation)
)
"""Selects the number of deprovisionings (``total``) by ``state`` and ``operation``."""

LISTED = Statement(
    select(deprovisionings)
    .where(in_scope(deprovisionings), deprovisionings.c.state == bindparam("wanted"))
    .order_by(deprovisionings.c.at, deprovisionings.c.user_id)
    .limit(bindparam("limit"))
)
"""Selects the first ``limit`` deprovisionings in a state (``wanted``)."""


def _decide(*conditions: ColumnElement[bool]) -> Statement:
    """Return the statement that decides, and that clears a quarantine which is over."""
    cleared_if_over = {
        name: case((~in_force(), empty), else_=quarantines.c[name])
        for name, empty in (("since", ""), ("reason", ""), ("refused", 0))
    }
    return Statement(
        update(quarantines)
        .where(in_scope(quarantines), *conditions)
        .values(
            state=bindparam("becomes"),
            until=bindparam("lasts"),
            decided=bindparam("now"),
            decided_by=bindparam("actor"),
            **cleared_if_over,
        ),
        rows=1,
        label=DECISION,
    )


DECIDE = _decide()
DECIDE_IN_FORCE = _decide(in_force())
"""Decides only if a quarantine or a decision is in force."""
