"""The audit trail of a tenant: events are taken from the outbox in order, and sealed into a chain.

Writers never wait for one another: they put their events into the outbox, and one tick at a time
gives them their sequence numbers. A sealed event is a resource like any other, so it is searched,
sorted and paged like any other, and appears after all earlier events.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from scim2_models import SCIMException
from sqlalchemy import bindparam, delete, func, literal_column, select, update

from kong_scim.bridge import GATEWAY_AWAY, BridgeError, Sql
from kong_scim.counts import counts_of, unforeseen
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.documents import check_form
from kong_scim.directory.event_tables import chains, outbox
from kong_scim.directory.kinds import Kind
from kong_scim.directory.ports import Conflict
from kong_scim.directory.queries import IN_SCOPE_BY_ID, in_scope
from kong_scim.directory.statements import Statement, insert_into, is_one_of, parameters
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.tables import resources, values
from kong_scim.directory.values import instant
from kong_scim.directory.writes import Writes
from kong_scim.events.hash_chain import START, Chain, hash_of
from kong_scim.events.outbox import revoked
from kong_scim.events.webhooks.formats import labels

log = logging.getLogger(__name__)

BATCH = 100
"""Events that are sealed, or dropped, in one commit at most."""

MOST_ASIDE = 1000
"""Events of the outbox that are set aside at most."""


class _UnfitError(Exception):
    """An event of the outbox cannot be sealed. The text says why, without the event's content."""


class Trail:
    """The audit trail of one tenant.

    :param kind: The resource type of events.
    :param announce: Returns the steps that are committed together with a sealed event.
    :param aside: Positions in the outbox of events that cannot be sealed. The trail adds to it.
    """

    def __init__(
        self,
        database: TenantDatabase,
        kind: Kind,
        announce: Callable[[Mapping[str, Any]], Sequence[Sql]] = lambda _: (),
        *,
        aside: set[int] | None = None,
    ) -> None:
        self._aside = set() if aside is None else aside
        self._announce = announce
        self._database = database
        self._tenant = database.scope.tenant
        self._kind = kind

    def chain(self) -> Chain:
        """Return the stored ends of the hash chain, by which the trail is verified."""
        return _read(self._database.rows(_CHAIN))

    def by_hour(self, first: str) -> dict[str, int]:
        """Return the numbers of sealed events by the beginning of their dates, up to the hour.

        :param first: The first hour, such as ``2026-01-31T09``.
        """
        rows = self._database.rows(_BY_HOUR, type=self._kind.name, first=first)
        return {row["hour"]: int(row["count"]) for row in rows}

    def seal(self, limit: int = BATCH) -> list[dict[str, Any]]:
        """Seal the oldest events of the outbox.

        An event that cannot be sealed stays in the outbox and is set aside; the others are sealed.

        :return: The sealed events in SCIM JSON form; none if another node sealed them first.
        """
        database = self._database
        statement = _waiting(aside=self._aside) if self._aside else _WAITING
        rows, waiting = database.query(
            [database.bind(_CHAIN), database.bind(statement, limit=limit)]
        )
        if not waiting:
            return []
        try:
            return self._seal(_read(rows), waiting)
        except _UnfitError as error:
            if len(waiting) == 1:
                self._set_aside(waiting[0], error)
                return []
        return [sealed for columns in waiting for sealed in self._seal_one(columns)]

    def _seal_one(self, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
        try:
            return self._seal(self.chain(), [columns])
        except _UnfitError as error:
            self._set_aside(columns, error)
            return []

    def _set_aside(self, columns: Mapping[str, Any], error: _UnfitError) -> None:
        if len(self._aside) >= MOST_ASIDE:
            raise error
        self._aside.add(columns["position"])
        counts_of(self._tenant).add("failures", "trail", "")
        log.error(
            "tenant %s: event %s cannot be sealed and stays in the outbox; the others go on: %s",
            *(self._tenant, columns["id"], error),
        )

    def _seal(self, chain: Chain, waiting: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Seal all of some events, or none.

        :raises _UnfitError: When one of them cannot be sealed.
        """
        old, sealed, writes = chain, [], Writes(self._database)
        try:
            for columns in waiting:
                event = self._sealed(columns, chain)
                chain = replace(chain, length=event["sequence"], hash=event["hash"])
                created = columns["created"]
                doc = {name: value for name, value in event.items() if name != "id"}
                row = StoredRow(event["id"], self._kind.name, 1, doc, created, created)
                check_form(self._kind, row)
                writes.create(self._kind, row)
                sealed.append(event)
            announced = [step for event in sealed for step in self._announce(event)]
        except Exception as error:  # the row may have any content
            raise _UnfitError(unforeseen(error)) from None
        self._move(writes, old, chain)
        positions = [columns["position"] for columns in waiting]
        taken = delete(outbox).where(outbox.c.position.in_(positions))
        steps = [self._database.bind(Statement(taken, rows=len(waiting))), *announced]
        try:
            done: list[dict[str, Any]] = self._committed(writes, steps, sealed)
        except GATEWAY_AWAY:
            raise
        except BridgeError as error:
            raise _UnfitError(str(error)) from None
        except SCIMException:
            raise _UnfitError("an event of its id is in the trail already") from None
        counts = counts_of(self._tenant)
        for event in done:
            for label in labels(event):
                counts.add("events", label)
        return done

    def drop(self, before: datetime, limit: int = BATCH) -> int:
        """Delete the oldest events of the trail, up to ``limit``, that are older than a moment.

        :return: How many were deleted. The chain begins after them.
        """
        chain = self.chain()
        found = self._database.rows(_OLDEST, type=self._kind.name, first=chain.first, limit=limit)
        old = []
        for row in found:
            if row["created"] >= instant(before):
                break
            old.append(row)
        last: dict[str, Any] = {}
        while old and not last:
            try:
                doc = json.loads(old[-1]["doc"])
                last = {name: doc[name] for name in ("sequence", "hash")}
            except (ValueError, TypeError, KeyError, RecursionError):
                old.pop()  # the chain cannot begin after an event that cannot be read
        if not old:
            return 0
        writes = Writes(self._database)
        self._move(
            writes, chain, replace(chain, first=last["sequence"] + 1, first_hash=last["hash"])
        )
        for row in old:
            writes.delete(row["id"])
        return len(self._committed(writes, [], old))

    def _sealed(self, columns: Mapping[str, Any], chain: Chain) -> dict[str, Any]:
        document, written = json.loads(columns["doc"]), json.loads(columns["written"])
        credentials = revoked(written)
        if credentials:
            document["actions"] = [*document.get("actions", []), "credentials-revoke"]
        event = {
            "schemas": [str(self._kind.model.__schema__)],
            "id": columns["id"],
            "sequence": chain.length + 1,
            "occurred": columns["created"],
            "resourceType": columns["resource_type"],
            "resourceId": columns["resource_id"],
            "versionBefore": columns["version_before"],
            "versionAfter": columns["version_after"],
            **document,
            "entities": [
                {"operation": operation, "kind": kind, "count": count}
                for operation, kinds in sorted(written.items())
                for kind, count in sorted(kinds.items())
            ],
            "credentials": [{"kind": kind, "count": count} for kind, count in credentials.items()],
            "previousHash": chain.hash,
        }
        event = {name: value for name, value in event.items() if value not in (None, [])}
        return {**event, "hash": hash_of(event)}

    def _move(self, writes: Writes, old: Chain, new: Chain) -> None:
        writes.first(self._database.bind(_INSERT_CHAIN))
        moved = self._database.bind(
            _MOVE_CHAIN,
            old_length=old.length,
            old_first=old.first,
            new_length=new.length,
            new_hash=new.hash,
            new_first=new.first,
            new_first_hash=new.first_hash,
        )
        writes.first(moved)

    def _committed(self, writes: Writes, steps: list[Any], done: list[Any]) -> list[Any]:
        try:
            writes.commit(steps)
        except Conflict:
            return []
        return done


def _read(rows: list[dict[str, Any]]) -> Chain:
    if not rows:
        return Chain()
    row = rows[0]
    return Chain(int(row["length"]), row["hash"], int(row["first"]), row["first_hash"])


_HOUR = func.substr(resources.c.created, 1, 13)

_BY_HOUR = Statement(
    select(_HOUR.label("hour"), func.count().label("count"))
    .where(
        in_scope(),
        resources.c.type == bindparam("type"),
        resources.c.created >= bindparam("first"),
    )
    .group_by(literal_column("hour"))
)

_CHAIN = Statement(select(chains).where(in_scope(chains)))


def _waiting(*, aside: Collection[int] = ()) -> Statement:
    """Select the oldest ``limit`` events of the outbox, without those at some positions."""
    found = select(outbox).where(in_scope(outbox)).order_by(outbox.c.position)
    if aside:
        found = found.where(~is_one_of(outbox.c.position, sorted(aside)))
    return Statement(found.limit(bindparam("limit")))


_WAITING = _waiting()

_OLDEST = Statement(
    select(resources.c.id, resources.c.created, resources.c.doc)
    .join(values, values.c.resource_id == resources.c.id)
    .where(
        IN_SCOPE_BY_ID,
        resources.c.type == bindparam("type"),
        values.c.attr == "sequence",
        values.c.num >= bindparam("first"),
    )
    .order_by(values.c.num)
    .limit(bindparam("limit"))
)

_INSERT_CHAIN = Statement(
    insert_into(chains)
    .values(**parameters("workspace", "tenant"), length=0, hash=START, first=1, first_hash=START)
    .on_conflict_do_nothing()
)

_MOVE_CHAIN = Statement(
    update(chains)
    .where(
        in_scope(chains),
        chains.c.length == bindparam("old_length"),
        chains.c.first == bindparam("old_first"),
    )
    .values(
        length=bindparam("new_length"),
        hash=bindparam("new_hash"),
        first=bindparam("new_first"),
        first_hash=bindparam("new_first_hash"),
    ),
    rows=1,
    label="chain",
)
"""Moves both ends of the chain, unless another node has moved one since they were read."""
