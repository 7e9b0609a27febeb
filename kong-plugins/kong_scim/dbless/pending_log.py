"""The pending log: changes not yet applied to Kong, and the credentials that Kong was given.

A change is written here before it is applied to Kong, and its entry is removed afterwards. A change
that is pending when a process dies is applied again; a step that was applied before changes
nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kong_scim.bridge import MEMBERSHIPS, SUBJECTS, Delete, LastEventTag, Revoke, Step, Upsert
from kong_scim.dbless.ready_rows import ReadyRows
from kong_scim.directory.database import Scope
from kong_scim.directory.sqlite import SqliteTransaction

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS kong_pending (
      number INTEGER PRIMARY KEY AUTOINCREMENT,
      workspace TEXT NOT NULL, tenant TEXT NOT NULL,
      after INTEGER NOT NULL, steps TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE IF NOT EXISTS kong_told (
      workspace TEXT, tenant TEXT, number INTEGER NOT NULL, PRIMARY KEY (workspace, tenant)
    ) STRICT
    """,
    """
    CREATE TABLE IF NOT EXISTS kong_credentials (
      id TEXT PRIMARY KEY,
      workspace TEXT NOT NULL, tenant TEXT NOT NULL,
      consumer TEXT NOT NULL, dao TEXT NOT NULL, entity TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX IF NOT EXISTS kong_credentials_consumer ON kong_credentials (consumer)",
    """
    CREATE TABLE IF NOT EXISTS kong_subjects (
      id TEXT PRIMARY KEY, workspace TEXT NOT NULL, tenant TEXT NOT NULL, entity TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE IF NOT EXISTS kong_stamps (
      consumer TEXT PRIMARY KEY,
      workspace TEXT NOT NULL, tenant TEXT NOT NULL, event TEXT NOT NULL
    ) STRICT
    """,
)

_STEPS: Mapping[str, Any] = {
    "upsert": Upsert,
    "delete": Delete,
    "revoke": Revoke,
    "stamp": LastEventTag,
}


@dataclass(frozen=True)
class Pending:
    """A change that is not yet applied to Kong.

    :param number: The number of the change.
    :param after: The number of the change before it, which was applied.
    """

    number: int
    after: int
    steps: tuple[Step, ...]


def create(transaction: SqliteTransaction) -> None:
    """Create the tables that are missing."""
    for statement in _TABLES:
        transaction.connection.execute(statement)


class PendingLog:
    """The pending log of one tenant, within a transaction."""

    def __init__(self, transaction: SqliteTransaction, scope: Scope) -> None:
        self._connection = transaction.connection
        self._scope = scope

    def add(self, steps: Sequence[Step], rows: ReadyRows) -> int:
        """Add an entry with steps on Kong's entities, and return its number.

        The credentials among them, and the last event of each consumer, are stored as well. Unlike
        consumers and memberships they do not follow from a SCIM resource, and would be lost with
        Kong's memory.

        :param steps: Each :class:`.LastEventTag` among them names its consumers.
        :param rows: The tenant's ready-made rows, which change with the steps.
        """
        before = self.last_applied()
        self._forget(steps)
        for step in steps:
            if isinstance(step, LastEventTag):
                self._keep_last_event(step)
            elif isinstance(step, Upsert) and step.dao == SUBJECTS:
                self._keep_subject(step)
            elif isinstance(step, Upsert) and step.dao not in {"consumers", *MEMBERSHIPS}:
                self._keep_credential(step)
        cursor = self._run(
            "INSERT INTO kong_pending (workspace, tenant, after, steps)"
            " VALUES (:workspace, :tenant, :after, :steps)",
            after=before,
            steps=json.dumps([vars(step) for step in steps]),
        )
        number = int(cursor.lastrowid or 0)
        self._run(
            "INSERT INTO kong_told (workspace, tenant, number)"
            " VALUES (:workspace, :tenant, :number)"
            " ON CONFLICT DO UPDATE SET number = excluded.number",
            number=number,
        )
        rows.note(steps, before, number)
        return number

    def last_applied(self) -> int:
        """Return the number of the last change that was applied or is pending, or 0."""
        found = self._run(
            "SELECT number FROM kong_told WHERE workspace = :workspace AND tenant = :tenant"
        ).fetchone()
        return int(found[0]) if found else 0

    def remove(self, number: int) -> None:
        """Remove the entry of a change that was applied to Kong."""
        self._run("DELETE FROM kong_pending WHERE number = :number", number=number)

    def pending_number(self) -> int | None:
        """Return the number of the pending change, or None."""
        found = self._run(
            "SELECT number FROM kong_pending WHERE workspace = :workspace AND tenant = :tenant"
        ).fetchone()
        return int(found[0]) if found else None

    def pending(self) -> Pending | None:
        """Return the pending change, or None. There is one at most: it blocks further writes."""
        found = self._run(
            "SELECT number, after, steps FROM kong_pending"
            " WHERE workspace = :workspace AND tenant = :tenant"
        ).fetchone()
        if found is None:
            return None
        number, after, steps = found
        return Pending(number, after, tuple(_step(each) for each in json.loads(steps)))

    def credentials(self, consumers: Sequence[str], now: float) -> list[Upsert]:
        """Return the steps that write the credentials of some consumers to Kong.

        :param now: Seconds since the epoch. A credential with a time to live gets what is left of
            it; an expired one is left out.
        """
        found = self._run(
            "SELECT dao, entity FROM kong_credentials"
            " WHERE workspace = :workspace AND tenant = :tenant"
            " AND consumer IN (SELECT value FROM json_each(:consumers)) ORDER BY id",
            consumers=json.dumps(list(consumers)),
        )
        entities = ((dao, _with_remaining_ttl(json.loads(entity), now)) for dao, entity in found)
        return [Upsert(dao, entity) for dao, entity in entities if entity is not None]

    def subjects(self, after: str, most: int) -> list[Upsert]:
        """Return the steps that write a page of subjects to Kong, in the order of their ids.

        :param after: The id before the first of the page.
        """
        found = self._run(
            "SELECT entity FROM kong_subjects"
            " WHERE workspace = :workspace AND tenant = :tenant AND id > :after"
            " ORDER BY id LIMIT :most",
            after=after,
            most=most,
        )
        return [Upsert(SUBJECTS, json.loads(entity)) for (entity,) in found]

    def last_events(self, consumers: Sequence[str]) -> list[LastEventTag]:
        """Return the steps that tag some consumers with the event that changed them last."""
        found = self._run(
            "SELECT coalesce(event, ''), json_group_array(given.value)"
            " FROM json_each(:consumers) AS given LEFT JOIN kong_stamps"
            " ON consumer = given.value AND workspace = :workspace AND tenant = :tenant"
            " GROUP BY 1 ORDER BY 1",
            consumers=json.dumps(list(consumers)),
        )
        return [LastEventTag(event, tuple(json.loads(ids))) for event, ids in found]

    def _run(self, statement: str, **values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, {**vars(self._scope), **values})

    def _keep_credential(self, step: Upsert) -> None:
        self._run(
            "INSERT OR REPLACE INTO kong_credentials"
            " (id, workspace, tenant, consumer, dao, entity)"
            " VALUES (:id, :workspace, :tenant, :consumer, :dao, :entity)",
            id=step.entity["id"],
            consumer=step.entity["consumer"]["id"],
            dao=step.dao,
            entity=json.dumps(step.entity),
        )

    def _keep_subject(self, step: Upsert) -> None:
        entity = json.dumps(step.entity)
        if step.if_present:
            self._run(
                "UPDATE kong_subjects SET entity = :entity WHERE id = :id",
                id=step.entity["id"],
                entity=entity,
            )
        else:
            self._run(
                "INSERT OR REPLACE INTO kong_subjects (id, workspace, tenant, entity)"
                " VALUES (:id, :workspace, :tenant, :entity)",
                id=step.entity["id"],
                entity=entity,
            )

    def _keep_last_event(self, step: LastEventTag) -> None:
        for consumer in step.consumers or ():
            self._run(
                "INSERT OR REPLACE INTO kong_stamps (consumer, workspace, tenant, event)"
                " VALUES (:consumer, :workspace, :tenant, :event)",
                consumer=consumer,
                event=step.event,
            )

    def _forget(self, steps: Sequence[Step]) -> None:
        """Delete the credentials that the steps delete, and all that is stored of deleted
        consumers."""
        of_consumer = "DELETE FROM kong_credentials WHERE consumer = :id"
        for step in steps:
            if isinstance(step, Revoke):
                self._run(of_consumer, id=step.consumer)
            elif isinstance(step, Delete) and step.dao == "consumers":
                self._run("DELETE FROM kong_stamps WHERE consumer = :id", id=step.id)
                self._run(of_consumer, id=step.id)
            elif isinstance(step, Delete):
                self._run("DELETE FROM kong_credentials WHERE id = :id", id=step.id)


def _with_remaining_ttl(entity: dict[str, Any], now: float) -> dict[str, Any] | None:
    if not entity.get("ttl"):
        return entity
    left = int(entity["created_at"] + entity["ttl"] - now)
    return {**entity, "ttl": left} if left > 0 else None


def _step(fields: Mapping[str, Any]) -> Step:
    step: Step = _STEPS[fields["op"]](**fields)
    return step
