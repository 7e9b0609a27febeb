"""Stores a tenant's deliveries: what is to be sent to which target, and each attempt.

A delivery is made in the commit that seals its event. Several nodes send deliveries at once: each
claims some with one statement, for a limited time (a lease). A delivery can be claimed only when no
earlier one for the same resource and target is pending.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Update,
    bindparam,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    union_all,
    update,
)

from kong_scim.bridge import Param, Sql
from kong_scim.counts import counts_of
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.event_tables import attempts, deliveries
from kong_scim.directory.queries import in_scope
from kong_scim.directory.statements import Statement, is_one_of
from kong_scim.directory.tables import resources
from kong_scim.directory.values import instant
from kong_scim.events.webhooks.http import KEPT, LONGEST_WAIT, Answer

log = logging.getLogger(__name__)

LONGEST_PAUSES = timedelta(seconds=LONGEST_WAIT) + timedelta(hours=1)
LONGEST_LEASES = timedelta(hours=1)
"""How far in the future a delivery may be due, or leased. Nodes' clocks may differ by an hour."""

STATES = ("pending", "delivered", "dead")


@dataclass(frozen=True)
class Delivery:
    """A delivery that this node has claimed, and must send.

    :param attempts: How often it was tried, including this time.
    :param created: When it was made, or last replayed.
    :param event: The event in SCIM JSON form, or None if the stored one cannot be read.
    """

    number: int
    attempts: int
    created: str
    event: Mapping[str, Any] | None


@dataclass(frozen=True)
class Attempt:
    """The result of one attempt to send a delivery.

    :param delivery: The delivery's number.
    :param state: The new state of the delivery, one of :data:`STATES`.
    :param due: The earliest time of the next attempt.
    """

    delivery: int
    at: datetime
    answer: Answer
    state: str
    due: datetime


class Deliveries:
    """The deliveries of a tenant."""

    def __init__(self, database: TenantDatabase) -> None:
        self._database = database
        self._scope = database.scope
        self._counts = counts_of(self._scope.tenant)

    def steps(self, event: Mapping[str, Any], targets: Iterable[str], now: datetime) -> list[Sql]:
        """Return the statements that store an event's deliveries, for the event's commit."""
        rows = [
            {
                "workspace": self._scope.workspace,
                "tenant": self._scope.tenant,
                "target": target,
                "event_id": event["id"],
                "resource_id": event["resourceId"],
                "state": "pending",
                "attempts": 0,
                "created": instant(now),
                "due": instant(now),
                "leased": "",
            }
            for target in targets
        ]
        return [self._database.bind(Statement(insert(deliveries).values(rows)))] if rows else []

    def unsent(self) -> dict[str, int]:
        """Return how many deliveries are pending, and how many were given up (dead)."""
        rows = self._database.rows(_UNSENT)
        return {"pending": 0, "dead": 0, **{row["state"]: int(row["count"]) for row in rows}}

    def claim(self, target: str, limit: int, now: datetime, until: datetime) -> list[Delivery]:
        """Claim due deliveries, the oldest first, and at most one for each resource.

        :param until: The end of the lease, after which another node may claim them.
        """
        statement = self._database.bind(
            _CLAIM, target=target, now=instant(now), until=instant(until), limit=limit
        )
        (claimed,) = self._database.commit([statement])
        if not claimed.data:
            return []
        ids = [row["event_id"] for row in claimed.data]
        found = select(resources.c.id, resources.c.doc).where(resources.c.id.in_(ids))
        rows = self._database.rows(Statement(found))
        docs = {row["id"]: _event(row) for row in rows}
        return [
            Delivery(
                int(row["number"]), int(row["attempts"]), str(row["created"]), docs[row["event_id"]]
            )
            for row in sorted(claimed.data, key=lambda row: int(row["number"]))
            if row["event_id"] in docs
        ]

    def record(self, done: Sequence[Attempt]) -> None:
        """Store attempts, and the new states of their deliveries."""
        steps = []
        for attempt in done:
            values: dict[str, Param] = {
                "number": attempt.delivery,
                "state": attempt.state,
                "due": instant(attempt.due),
                "at": instant(attempt.at),
                "status": attempt.answer.status,
                "milliseconds": attempt.answer.milliseconds,
                "error": attempt.answer.error,
                "answer": attempt.answer.text,
            }
            steps.append(self._database.bind(_INSERT_ATTEMPT, **values))
            steps.append(self._database.bind(_UPDATE_STATE, **values))
        if steps:
            self._database.commit(steps)

    def waiting(self, target: str, limit: int) -> list[tuple[str, Mapping[str, Any] | None]]:
        """Return the ids and the oldest events that a target has not acknowledged, in order.

        An event that is stored and cannot be read is None.
        """
        found = (
            select(resources.c.id, resources.c.doc)
            .join(deliveries, deliveries.c.event_id == resources.c.id)
            .where(*self._pending(target))
            .order_by(deliveries.c.number)
            .limit(limit)
        )
        rows = self._database.rows(Statement(found))
        return [(row["id"], _event(row)) for row in rows]

    def acknowledge(
        self, target: str, taken: Collection[str], refused: Mapping[str, str], now: datetime
    ) -> None:
        """Store a target's acknowledgements and errors.

        :param taken: Ids of the events that it acknowledges.
        :param refused: The errors that it reports, by the event's id. Those deliveries become dead.
        """
        found = select(deliveries.c.number, deliveries.c.event_id).where(
            *self._pending(target), is_one_of(deliveries.c.event_id, [*taken, *refused])
        )
        rows = self._database.rows(Statement(found))
        done = []
        for row in rows:
            error = refused.get(row["event_id"])
            answer = Answer(200) if error is None else Answer(400, "refused", error[:KEPT])
            state = "delivered" if error is None else "dead"
            done.append(Attempt(int(row["number"]), now, answer, state, now))
        self.record(done)
        for attempt in done:
            self.count(target, attempt)

    def count(self, target: str, attempt: Attempt) -> None:
        """Count the result of a stored attempt."""
        self._counts.add(
            "deliveries", target, "failed" if attempt.state == "pending" else attempt.state
        )

    def _pending(self, target: str) -> list[Any]:
        return [
            in_scope(deliveries),
            deliveries.c.target == target,
            deliveries.c.state == "pending",
        ]

    def give_up_old(self, before: datetime, now: datetime) -> int:
        """Give up pending deliveries from before a time, and return their number."""
        statement = self._database.bind(_GIVE_UP_OLD, before=instant(before), now=instant(now))
        (result,) = self._database.commit([statement])
        for row in result.data:
            self._counts.add("deliveries", row["target"], "dead")
        return result.rows

    def bring_forward(self, now: datetime) -> None:
        """Make deliveries due that are due, or leased, further in the future than is possible.

        That happens when a clock was far off. Otherwise they would wait until then.
        """
        try:
            latest = {"due": now + LONGEST_PAUSES, "leased": now + LONGEST_LEASES}
        except OverflowError:  # no time can be later
            return
        self._database.commit(
            [
                self._database.bind(
                    _BRING_FORWARD[column], latest=instant(moment), now=instant(now)
                )
                for column, moment in latest.items()
            ]
        )

    def replay(self, numbers: Sequence[int] | None, now: datetime) -> int:
        """Make dead or delivered deliveries pending again.

        :param numbers: Their numbers, or None for all dead ones.
        :return: How many became pending.
        """
        statement = update(deliveries).where(in_scope(deliveries))
        if numbers is None:
            statement = statement.where(deliveries.c.state == "dead")
        else:
            statement = statement.where(
                is_one_of(deliveries.c.number, numbers), deliveries.c.state != "pending"
            )
        # `created` is set too: an old delivery would be given up again at once.
        values = {"state": "pending", "due": instant(now), "created": instant(now), "leased": ""}
        (result,) = self._database.commit(
            [self._database.bind(Statement(statement.values(values)))]
        )
        return result.rows

    def page(self, *, state: str | None, after: int, limit: int) -> list[dict[str, Any]]:
        """Return deliveries with their attempts, by number, in the JSON form of the endpoint.

        :param state: Only those with this state; None for all.
        :param after: Only those with a greater number.
        :param limit: How many at most.
        """
        found = select(deliveries).where(in_scope(deliveries), deliveries.c.number > after)
        if state is not None:
            found = found.where(deliveries.c.state == state)
        found = found.order_by(deliveries.c.number).limit(limit)
        rows = self._database.rows(Statement(found))
        numbers = [int(row["number"]) for row in rows]
        attempts_of: dict[int, list[dict[str, Any]]] = {number: [] for number in numbers}
        if numbers:
            of = select(attempts).where(attempts.c.delivery.in_(numbers))
            for note in self._database.rows(Statement(of.order_by(attempts.c.number))):
                entry = {name: note[name] for name in ("at", "milliseconds", "status")}
                entry |= {name: note[name] for name in ("error", "answer") if note[name]}
                attempts_of[int(note["delivery"])].append(entry)
        return [
            {
                "id": int(row["number"]),
                "event": row["event_id"],
                "target": row["target"],
                "resource": row["resource_id"],
                "state": row["state"],
                "created": row["created"],
                "due": row["due"],
                "attempts": attempts_of[int(row["number"])],
            }
            for row in rows
        ]


def _event(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a stored event in SCIM JSON form, or None if the row cannot be read."""
    try:
        return {"id": row["id"], **json.loads(row["doc"])}
    except (ValueError, TypeError, RecursionError):
        log.error("the stored event %s cannot be read", row["id"])  # noqa: TRY400 - once an event
        return None


def _claim() -> Update:
    one, earlier = deliveries.alias("one"), deliveries.alias("earlier")
    has_earlier = exists(
        select(literal(1))
        .where(
            earlier.c.workspace == one.c.workspace,
            earlier.c.tenant == one.c.tenant,
            earlier.c.target == one.c.target,
            earlier.c.resource_id == one.c.resource_id,
            earlier.c.state == "pending",
            earlier.c.number < one.c.number,
        )
        .correlate(one)
    )
    due = (
        select(one.c.number)
        .where(
            in_scope(one),
            one.c.target == bindparam("target"),
            one.c.state == "pending",
            one.c.due <= bindparam("now"),
            one.c.leased <= bindparam("now"),
            ~has_earlier,
        )
        .order_by(one.c.number)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True, of=one)
    )
    return (
        update(deliveries)
        .where(deliveries.c.number.in_(due))
        .values(leased=bindparam("until"), attempts=deliveries.c.attempts + 1)
        .returning(
            deliveries.c.number,
            deliveries.c.event_id,
            deliveries.c.attempts,
            deliveries.c.created,
        )
    )


_CLAIM = Statement(_claim())

_OF_ATTEMPT = ("at", "status", "milliseconds", "error", "answer")

_INSERT_ATTEMPT = Statement(
    insert(attempts).from_select(
        ["delivery", *_OF_ATTEMPT],
        select(
            deliveries.c.number,
            *(bindparam(name, type_=attempts.c[name].type) for name in _OF_ATTEMPT),
        ).where(deliveries.c.number == bindparam("number")),
    )
)
"""Inserts an attempt, unless its delivery was deleted with its event."""

_UPDATE_STATE = Statement(
    update(deliveries)
    .where(deliveries.c.number == bindparam("number"), deliveries.c.state == "pending")
    .values(state=bindparam("state"), due=bindparam("due"), leased="")
)


def _bring_forward(column: str) -> Statement:
    return Statement(
        update(deliveries)
        .where(
            in_scope(deliveries),
            deliveries.c.state == "pending",
            deliveries.c[column] > bindparam("latest"),
        )
        .values({column: bindparam("now")})
    )


_BRING_FORWARD = {column: _bring_forward(column) for column in ("due", "leased")}

_GIVE_UP_OLD = Statement(
    update(deliveries)
    .where(
        in_scope(deliveries),
        deliveries.c.state == "pending",
        deliveries.c.created < bindparam("before"),
        deliveries.c.leased <= bindparam("now"),
    )
    .values(state="dead")
    .returning(deliveries.c.target)
)

# The states are literals, so that both planners use the partial indexes.
_UNSENT = Statement(
    union_all(
        *(
            select(literal_column(f"'{state}'").label("state"), func.count().label("count"))
            .select_from(deliveries)
            .where(in_scope(deliveries), deliveries.c.state == literal_column(f"'{state}'"))
            for state in ("pending", "dead")
        )
    )
)
