"""The pending log of a DB-less Kong, and the credentials it was given, in the local store.

A change is written here before it is applied to Kong, and its entry is removed afterwards. Whatever
is pending when a process dies is applied again: a step that was done before changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kong_scim.bridge import Delete, LastEventTag, Revoke, Step, Upsert
from kong_scim.directory.ports import Scope
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
    CREATE TABLE IF NOT EXISTS kong_stamps (
      consumer TEXT PRIMARY KEY,
      workspace TEXT NOT NULL, tenant TEXT NOT NULL, event TEXT NOT NULL
    ) STRICT
    """,
)

_PROJECTED = frozenset({"consumers", "acls"})

_STEPS: Mapping[str, Any] = {
    "upsert": Upsert,
    "delete": Delete,
    "revoke": Revoke,
    "stamp": LastEventTag,
}


@dataclass(frozen=True)
class Pending:
    """A change that was not applied to Kong yet.

    :param after: The number of the change before it, which was applied.
    """

    number: int
    after: int
    steps: tuple[Step, ...]


def create(transaction: SqliteTransaction) -> None:
    """Make the tables where there are none."""
    for statement in _TABLES:
        transaction.connection.execute(statement)


def add(transaction: SqliteTransaction, scope: Scope, steps: Sequence[Step]) -> int:
    """Note steps on Kong's entities as pending, and return their number.

    What is no consumer and no ACL group is a credential, and kept: unlike those it does not follow
    from a SCIM resource, and would be gone with Kong's memory. So is which event changed a consumer
    last.

    :param steps: Of which stamps name their consumers.
    """
    _forget(transaction, steps)
    for step in steps:
        if isinstance(step, LastEventTag):
            _keep_stamp(transaction, scope, step)
        elif isinstance(step, Upsert) and step.dao not in _PROJECTED:
            _keep_credential(transaction, scope, step)
    cursor = transaction.connection.execute(
        "INSERT INTO kong_pending (workspace, tenant, after, steps) VALUES (?, ?, ?, ?)",
        [
            scope.workspace,
            scope.tenant,
            last_applied(transaction, scope),
            json.dumps([vars(step) for step in steps]),
        ],
    )
    number = int(cursor.lastrowid or 0)
    transaction.connection.execute(
        "INSERT INTO kong_told (workspace, tenant, number) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET number = excluded.number",
        [scope.workspace, scope.tenant, number],
    )
    return number


def last_applied(transaction: SqliteTransaction, scope: Scope) -> int:
    """Return the number of the last change that was applied to Kong or is pending; 0 for none."""
    found = transaction.connection.execute(
        "SELECT number FROM kong_told WHERE workspace = ? AND tenant = ?",
        [scope.workspace, scope.tenant],
    ).fetchone()
    return int(found[0]) if found else 0


def lift(transaction: SqliteTransaction, number: int) -> None:
    """Remove an entry: it was applied to Kong."""
    transaction.connection.execute("DELETE FROM kong_pending WHERE number = ?", [number])


def pending(transaction: SqliteTransaction, scope: Scope) -> Pending | None:
    """Return the pending change; nothing else is written until it was applied."""
    found = transaction.connection.execute(
        "SELECT number, after, steps FROM kong_pending WHERE workspace = ? AND tenant = ?",
        [scope.workspace, scope.tenant],
    ).fetchone()
    if found is None:
        return None
    number, after, steps = found
    return Pending(number, after, tuple(_step(each) for each in json.loads(steps)))


def is_pending(transaction: SqliteTransaction, scope: Scope) -> bool:
    """Tell whether a change is pending."""
    found = transaction.connection.execute(
        "SELECT 1 FROM kong_pending WHERE workspace = ? AND tenant = ? LIMIT 1",
        [scope.workspace, scope.tenant],
    )
    return found.fetchone() is not None


def credentials(
    transaction: SqliteTransaction, scope: Scope, consumers: Sequence[str], now: float
) -> list[Upsert]:
    """Return the steps that give Kong the credentials of some consumers.

    :param now: In seconds since the epoch. Who had a time to live gets what is left of it.
    """
    found = transaction.connection.execute(
        "SELECT dao, entity FROM kong_credentials WHERE workspace = ? AND tenant = ?"
        " AND consumer IN (SELECT value FROM json_each(?)) ORDER BY id",
        [scope.workspace, scope.tenant, json.dumps(list(consumers))],
    )
    given = ((dao, _aged(json.loads(entity), now)) for dao, entity in found)
    return [Upsert(dao, entity) for dao, entity in given if entity is not None]


def stamps(
    transaction: SqliteTransaction, scope: Scope, consumers: Sequence[str]
) -> list[LastEventTag]:
    """Return the steps that say which event changed each of some consumers last."""
    found = transaction.connection.execute(
        "SELECT coalesce(event, ''), json_group_array(given.value)"
        " FROM json_each(?) AS given LEFT JOIN kong_stamps"
        " ON consumer = given.value AND workspace = ? AND tenant = ? GROUP BY 1 ORDER BY 1",
        [json.dumps(list(consumers)), scope.workspace, scope.tenant],
    )
    return [LastEventTag(event, tuple(json.loads(ids))) for event, ids in found]


def _aged(entity: dict[str, Any], now: float) -> dict[str, Any] | None:
    if not entity.get("ttl"):
        return entity
    left = int(entity["created_at"] + entity["ttl"] - now)
    return {**entity, "ttl": left} if left > 0 else None


def _keep_credential(transaction: SqliteTransaction, scope: Scope, step: Upsert) -> None:
    entity = step.entity
    transaction.connection.execute(
        "INSERT OR REPLACE INTO kong_credentials (id, workspace, tenant, consumer, dao, entity)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            entity["id"],
            scope.workspace,
            scope.tenant,
            entity["consumer"]["id"],
            step.dao,
            json.dumps(entity),
        ],
    )


def _keep_stamp(transaction: SqliteTransaction, scope: Scope, step: LastEventTag) -> None:
    transaction.connection.executemany(
        "INSERT OR REPLACE INTO kong_stamps (consumer, workspace, tenant, event)"
        " VALUES (?, ?, ?, ?)",
        [[each, scope.workspace, scope.tenant, step.event] for each in step.consumers or ()],
    )


def _forget(transaction: SqliteTransaction, steps: Sequence[Step]) -> None:
    """Drop credentials that the steps take away, and all that is known of who goes."""
    for step in steps:
        if isinstance(step, Delete) and step.dao == "consumers":
            transaction.connection.execute("DELETE FROM kong_stamps WHERE consumer = ?", [step.id])
        if isinstance(step, Revoke):
            column, value = "consumer", step.consumer
        elif isinstance(step, Delete):
            column, value = ("consumer" if step.dao == "consumers" else "id"), step.id
        else:
            continue
        transaction.connection.execute(
            f"DELETE FROM kong_credentials WHERE {column} = ?",  # noqa: S608 - one of two names
            [value],
        )


def _step(fields: Mapping[str, Any]) -> Step:
    step: Step = _STEPS[fields["op"]](**fields)
    return step
