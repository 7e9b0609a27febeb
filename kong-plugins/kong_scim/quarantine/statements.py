"""The statements of the deprovisioning guard.

All take the parameters ``workspace`` and ``tenant``, and ``now``. What counts departures also takes
``after``, the beginning of the window, and ``user``, whose own departure does not count; dates are
text as :func:`~kong_scim.directory.values.instant` writes it. No parameter has the name of a column
but those two: SQLAlchemy names what is embedded in a statement after its column.
"""

from __future__ import annotations

from functools import lru_cache
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

from kong_scim.bridge import Dialect
from kong_scim.directory.deprovisionings import deprovisionings, quarantines
from kong_scim.directory.ports import HELD
from kong_scim.directory.queries import in_scope
from kong_scim.directory.statements import Prepared, insert_into, prepare
from kong_scim.directory.tables import resources, values
from kong_scim.events.outbox import insert_where

OPEN, QUARANTINED, APPROVED, REJECTED = "open", "quarantined", "approved", "rejected"
GONE, WAITING, BACK = "gone", "held", "back"
"""States of a departure: done, refused, or undone: who was inactive and is active again."""

DECISION = "decision"
"""The label of a decision that cannot be made."""

FOREVER = "9999-12-31T23:59:59.999999+00:00"


def in_force() -> ColumnElement[bool]:
    """Whether a decision or a quarantine is in force, of a row of the tenant."""
    return quarantines.c.until > bindparam("now")


def tenant_has(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the row of the tenant meets a condition."""
    return exists(select(literal(1)).where(in_scope(quarantines), condition))


def holds() -> ColumnElement[bool]:
    """Whether everything is held back, of a row of the tenant."""
    return and_(in_force(), quarantines.c.state != APPROVED)


def _counts(at: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether something of a moment counts: of the window, and after the last decision."""
    until = select(quarantines.c.until).where(in_scope(quarantines)).scalar_subquery()
    return and_(at > bindparam("after"), at > func.coalesce(until, ""))


def _counted() -> Subquery:
    """Count departures of others within the window."""
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
    """Select users who were active when the window began, or at a decision since, and are.

    Not those who came since, nor those who were inactive then, or are now: whoever makes or wakes
    them would raise what may go. Who left since is counted as a departure.
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
    """Whether one more may leave: :meth:`~kong_scim.config.quarantine.QuarantineDecisions.allowed`
    in SQL.

    The user at hand is active before and has not left yet, so it is among those who are there. More
    users than ``enough`` need not be counted: the number binds before the share does.
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


@lru_cache(maxsize=4)
def insert_tenant(dialect: Dialect) -> Prepared:
    """Make the tenant's row where there is none."""
    row: dict[str, Any] = {column.name: "" for column in quarantines.c}
    row |= {name: bindparam(name) for name in ("workspace", "tenant")}
    row |= {"state": OPEN, "refused": 0}
    statement = insert_into(dialect, quarantines).values(row)
    return prepare(statement.on_conflict_do_nothing(), dialect)


@lru_cache(maxsize=4)
def lock(dialect: Dialect) -> Prepared:
    """Have nobody else write departures until the commit."""
    statement = select(quarantines.c.until).where(in_scope(quarantines)).with_for_update()
    return prepare(statement, dialect, rows=1)


def forgotten(table: Table) -> Delete:
    """Delete rows of ``at`` that do not count any more, unless somebody has yet to look at them."""
    old = or_(table.c.at <= bindparam("after"), table.c.at <= quarantines.c.until)
    return delete(table).where(in_scope(table), tenant_has(and_(~in_force(), old)))


@lru_cache(maxsize=4)
def purge(dialect: Dialect) -> Prepared:
    """Forget departures."""
    return prepare(forgotten(deprovisionings), dialect)


@lru_cache(maxsize=4)
def pass_by(dialect: Dialect) -> Prepared:
    """Let a departure pass that does not count, unless everything is held back."""
    statement = select(literal(1).label("one")).where(~tenant_has(holds()))
    return prepare(statement, dialect, rows=1, label=HELD)


@lru_cache(maxsize=4)
def come_back(dialect: Dialect) -> Prepared:
    """Note that a user is active again who was not, unless its departure still counts."""
    row = select(*_columns(BACK))
    statement = insert_into(dialect, deprovisionings).from_select(
        deprovisionings.c.keys(), row.where(true())
    )
    new = {"state": BACK, "operation": bindparam("left_by"), "at": bindparam("now")}
    statement = statement.on_conflict_do_update(
        index_elements=deprovisionings.primary_key.columns,
        set_=new,
        where=or_(deprovisionings.c.state != GONE, deprovisionings.c.at <= bindparam("after")),
    )
    return prepare(statement, dialect)


@lru_cache(maxsize=4)
def depart(dialect: Dialect) -> Prepared:
    """Write a departure down, unless it is one too many."""
    counted = _counted()
    approved = and_(in_force(), quarantines.c.state == APPROVED)
    row = select(*_columns(GONE)).where(
        or_(tenant_has(approved), and_(tenant_has(~in_force()), _one_more(counted)))
    )
    statement = insert_into(dialect, deprovisionings).from_select(deprovisionings.c.keys(), row)
    new = {"state": GONE, "operation": bindparam("left_by"), "at": bindparam("now")}
    statement = statement.on_conflict_do_update(
        index_elements=deprovisionings.primary_key.columns, set_=new
    )
    return prepare(statement, dialect, rows=1, label=HELD)


@lru_cache(maxsize=4)
def begin(dialect: Dialect) -> Prepared:
    """Put the tenant in quarantine, if it is not and one more is too many."""
    counted = _counted()
    return beginning(
        dialect, exists(select(literal(1)).select_from(counted).where(~_one_more(counted)))
    )


def beginning(dialect: Dialect, condition: ColumnElement[bool]) -> Prepared:
    """Put the tenant in quarantine, if it is not and a condition holds."""
    statement = (
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
    return prepare(statement, dialect)


@lru_cache(maxsize=4)
def insert_event(dialect: Dialect) -> Prepared:
    """Write the event of a beginning, if it did begin."""
    begun = exists(select(literal(1)).where(quarantines.c.event_id == bindparam("event")))
    return prepare(insert_where(begun), dialect)


@lru_cache(maxsize=4)
def refuse(dialect: Dialect) -> Prepared:
    """Count a request that is held back; one that insists keeps a rejection going."""
    rejected: Any = (quarantines.c.state == REJECTED, bindparam("rejected_until"))
    statement = (
        update(quarantines)
        .where(in_scope(quarantines), holds())
        .values(refused=quarantines.c.refused + 1, until=case(rejected, else_=quarantines.c.until))
    )
    return prepare(statement, dialect)


@lru_cache(maxsize=4)
def hold(dialect: Dialect) -> Prepared:
    """Write down whom a request that is held back would have removed."""
    row = select(*_columns(WAITING, refused=1)).where(tenant_has(holds()))
    statement = insert_into(dialect, deprovisionings).from_select(deprovisionings.c.keys(), row)
    held = deprovisionings.c.state == WAITING
    new = {
        "refused": deprovisionings.c.refused + 1,
        "operation": case((held, bindparam("left_by")), else_=deprovisionings.c.operation),
        "at": case((held, bindparam("now")), else_=deprovisionings.c.at),
    }
    statement = statement.on_conflict_do_update(
        index_elements=deprovisionings.primary_key.columns, set_=new
    )
    return prepare(statement, dialect)


@lru_cache(maxsize=4)
def state(dialect: Dialect) -> Prepared:
    """Select the tenant's row."""
    return prepare(select(quarantines).where(in_scope(quarantines)), dialect)


@lru_cache(maxsize=4)
def count(dialect: Dialect) -> Prepared:
    """Select how many departures count (``gone``), and how many else were active (``there``)."""
    there = select(func.count()).select_from(_active_before().subquery("there"))
    return prepare(select(_counted(), there.scalar_subquery().label("there")), dialect)


@lru_cache(maxsize=4)
def totals(dialect: Dialect) -> Prepared:
    """Select how many departures there are, as ``state``, ``operation`` and ``total``."""
    statement = (
        select(deprovisionings.c.state, deprovisionings.c.operation, func.count().label("total"))
        .where(in_scope(deprovisionings))
        .group_by(deprovisionings.c.state, deprovisionings.c.operation)
    )
    return prepare(statement, dialect)


@lru_cache(maxsize=4)
def listed(dialect: Dialect) -> Prepared:
    """Select departures of one state (``wanted``), the first ``limit`` of them."""
    statement = (
        select(deprovisionings)
        .where(in_scope(deprovisionings), deprovisionings.c.state == bindparam("wanted"))
        .order_by(deprovisionings.c.at, deprovisionings.c.user_id)
        .limit(bindparam("limit"))
    )
    return prepare(statement, dialect)


@lru_cache(maxsize=8)
def decide(dialect: Dialect, *, only_in_force: bool) -> Prepared:
    """Decide; what is of a quarantine that is over is forgotten."""
    over = ~in_force()
    kept = {
        name: case((over, empty), else_=quarantines.c[name])
        for name, empty in (("since", ""), ("reason", ""), ("refused", 0))
    }
    statement = (
        update(quarantines)
        .where(in_scope(quarantines), *([in_force()] if only_in_force else []))
        .values(
            state=bindparam("becomes"),
            until=bindparam("lasts"),
            decided=bindparam("now"),
            decided_by=bindparam("actor"),
            **kept,
        )
    )
    return prepare(statement, dialect, rows=1, label=DECISION)


def _columns(state: str, *, refused: int = 0) -> list[ColumnElement[Any]]:
    """Return a new row of a departure, in the order of the table."""
    given: dict[str, Any] = {
        "workspace": bindparam("workspace", type_=deprovisionings.c.workspace.type),
        "tenant": bindparam("tenant", type_=deprovisionings.c.tenant.type),
        "user_id": bindparam("user", type_=deprovisionings.c.user_id.type),
        "state": literal(state),
        "operation": bindparam("left_by", type_=deprovisionings.c.operation.type),
        "at": bindparam("now", type_=deprovisionings.c.at.type),
        "refused": literal(refused),
    }
    return [given[column.name] for column in deprovisionings.c]
