"""Reads from the audit trail what each event changed for some people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from scim2_models import TooManyException
from sqlalchemy import CTE, Select, Text, and_, bindparam, select

from kong_scim.bridge import Dialect
from kong_scim.directory import queries
from kong_scim.directory.database import Row, TenantDatabase
from kong_scim.directory.event_tables import outbox
from kong_scim.directory.queries import in_scope
from kong_scim.directory.related import looked_up
from kong_scim.directory.statements import Statement, is_one_of, json_rows, rows_of_json
from kong_scim.directory.tables import values
from kong_scim.events.outbox import revoked
from kong_scim.review.history import Change

MOST_ROWS = 50_000
"""Rows of events that are read for a batch of people."""

MOST_WAITING = 1000
"""Events that may wait to be sealed while a review is made."""


class ChangeReader:
    """Reads the changes of a tenant's people."""

    def __init__(self, database: TenantDatabase) -> None:
        self._database = database

    def of(self, people: Sequence[str]) -> dict[str, list[Change]]:
        """Return the changes of people in the order of the trail, also those not sealed yet."""
        database = self._database
        rows = json_rows([(each,) for each in people])
        limit = MOST_ROWS + 1
        of_groups, own, waiting = database.query(
            [
                database.bind(_CHANGED, rows=rows, limit=limit),
                database.bind(_OWN, rows=rows, limit=limit),
                database.bind(_WAITING, limit=MOST_WAITING + 1),
            ]
        )
        if max(len(of_groups), len(own)) > MOST_ROWS:
            raise TooManyException(
                detail="The audit trail has too many events of these people for one answer: ask "
                "for a single user, or drop old events (events.keep_days)"
            )
        _check_waiting(waiting)
        parts = _parts(of_groups)
        facts = self._facts(sorted({row["event"] for row in (*of_groups, *own)}))
        owners = {(row["person"], row["event"]) for row in own}
        found: dict[str, list[tuple[int, Change]]] = {}
        for person, event in sorted({*parts, *owners}):
            fact = facts.get(event, {})
            if fact and not fact.get("dryrun"):
                key = person, event
                change = _change(event, fact, parts.get(key), own=key in owners)
                found.setdefault(person, []).append((int(fact["sequence"][0]), change))
        changes = {
            person: [change for _, change in sorted(each, key=lambda pair: pair[0])]
            for person, each in found.items()
        }
        for row in waiting:
            for person, change in _unsealed(row, set(people)):
                known = changes.setdefault(person, [])
                if all(each.event != change.event for each in known):  # sealed meanwhile
                    known.append(change)
        return changes

    def deletions_waiting(self, kind: str) -> list[str]:
        """Return the ids of deleted resources of a type whose events are not sealed yet."""
        rows = self._database.rows(_WAITING, limit=MOST_WAITING + 1)
        _check_waiting(rows)
        return [
            row["resource_id"]
            for row in rows
            if row["resource_type"] == kind and json.loads(row["doc"])["operation"] == "delete"
        ]

    def _facts(self, events: Sequence[str]) -> dict[str, _Parts]:
        """Return the values of events by their attributes."""
        found: dict[str, _Parts] = {}
        for part in queries.chunks(events, 1000):
            rows = json_rows([(each,) for each in part])
            for row in self._database.rows(_FACTS, rows=rows):
                value = row["num"] if row["val"] is None else row["val"]
                found.setdefault(row["event"], {}).setdefault(row["attr"], []).append(value)
        return found


def _check_waiting(rows: Sequence[Row]) -> None:
    if len(rows) > MOST_WAITING:
        raise TooManyException(
            detail="Too many changes of this moment are not in the audit trail yet: ask again"
        )


_Parts = dict[str, list[Any]]
"""The values of an event, or of one of its entries, by their attributes."""


def _parts(rows: Iterable[Row]) -> dict[tuple[str, str], _Parts]:
    """Return the entries of ``users`` by person and event."""
    found: dict[tuple[str, str], _Parts] = {}
    for row in rows:
        value = row["num"] if row["val"] is None else row["val"]
        entry = found.setdefault((row["person"], row["event"]), {})
        entry.setdefault(row["attr"], []).append(value)
    return found


def _change(event: str, fact: _Parts, entry: _Parts | None, *, own: bool) -> Change:
    """Return what an event changed for a person.

    :param entry: Its entry of ``users`` for the person, or None.
    :param own: Whether it is an event of the person's own resource.
    """

    def one(name: str) -> str | None:
        found: str | None = fact.get(name, [None])[0]
        return found

    def counts(of: str) -> dict[str, int]:
        pairs = zip(fact.get(f"{of}.kind", []), fact.get(f"{of}.count", []), strict=True)
        return {str(kind): int(count) for kind, count in pairs}

    did = frozenset([*fact["operation"], *fact.get("actions", [])] if own else ())
    credentials = counts("credentials") if own else {}
    if "credential-add" in did:
        credentials = {kind: -count for kind, count in counts("entities").items()}
    entry = entry or {}
    suspended = entry.get("users.suspended")
    return Change(
        event=event,
        occurred=str(one("occurred")),
        actor=one("actor"),
        request=one("requestid"),
        own=did,
        consumer=entry.get("users.consumer", [None])[0],
        added=frozenset(entry.get("users.added", ())),
        removed=frozenset(entry.get("users.removed", ())),
        suspended=None if suspended is None else bool(float(suspended[0])),
        credentials=credentials,
    )


def _unsealed(row: Row, people: set[str]) -> Iterable[tuple[str, Change]]:
    """Yield the changes of people by an event of the outbox."""
    event = json.loads(row["doc"])
    if event.get("dryRun"):
        return
    entries = {each["value"]: each for each in event.get("users", [])}
    for person in people & {*entries, row["resource_id"]}:
        entry = entries.get(person, {})
        is_own = row["resource_id"] == person
        yield (
            person,
            Change(
                event=row["id"],
                occurred=row["created"],
                actor=event.get("actor"),
                request=event.get("requestId"),
                own=frozenset([event["operation"], *event.get("actions", [])] if is_own else ()),
                consumer=entry.get("consumer"),
                added=frozenset(entry.get("added", ())),
                removed=frozenset(entry.get("removed", ())),
                suspended=entry.get("suspended"),
                credentials=revoked(json.loads(row["written"])) if is_own else {},
            ),
        )


# -- Statements ---------------------------------------------------------------

_WAITING = Statement(
    select(
        *(outbox.c.id, outbox.c.created, outbox.c.resource_type, outbox.c.resource_id),
        *(outbox.c.doc, outbox.c.written),
    )
    .where(in_scope(outbox))
    .order_by(outbox.c.position)
    .limit(bindparam("limit"))
)


def _its(dialect: Dialect) -> CTE:
    rows = rows_of_json(dialect, Text).subquery("row")
    return select(rows.c.c0.label("id")).cte("its")


def _changed(dialect: Dialect) -> Select[Any]:
    """Select what events say of people in ``users``, one row for each value."""
    its, person, said = _its(dialect), values.alias("person"), values.alias("said")
    names = [f"users.{name}" for name in ("added", "removed", "suspended", "consumer")]
    rows = looked_up(
        dialect,
        its,
        [person.c.resource_id.label("event"), said.c.attr, said.c.val, said.c.num],
        (person, and_(person.c.attr == "users.value", person.c.head == its.c.id)),
        (
            said,
            and_(
                said.c.resource_id == person.c.resource_id,
                said.c.entry == person.c.entry,
                is_one_of(said.c.attr, names),
            ),
        ),
    )
    return rows.add_columns(its.c.id.label("person")).limit(bindparam("limit"))


def _own(dialect: Dialect) -> Select[Any]:
    """Select the events of the people's own resources."""
    its, person = _its(dialect), values.alias("person")
    tie = and_(person.c.attr == "resourceid", person.c.head == its.c.id)
    rows = looked_up(dialect, its, [person.c.resource_id.label("event")], (person, tie))
    return rows.add_columns(its.c.id.label("person")).limit(bindparam("limit"))


def _facts_of(dialect: Dialect) -> Select[Any]:
    its, said = _its(dialect), values.alias("said")
    names = ["sequence", "occurred", "operation", "actions", "actor", "requestid", "dryrun"]
    names += [f"{of}.{name}" for of in ("credentials", "entities") for name in ("kind", "count")]
    tie = and_(said.c.resource_id == its.c.id, is_one_of(said.c.attr, names))
    columns = [said.c.attr, said.c.entry, said.c.item, said.c.val, said.c.num]
    rows = looked_up(dialect, its, columns, (said, tie)).add_columns(its.c.id.label("event"))
    attr, entry, item, *_ = rows.selected_columns
    return rows.order_by(attr, entry, item)


_CHANGED = Statement(_changed)
_OWN = Statement(_own)
_FACTS = Statement(_facts_of)
