"""What a DB-less Kong has yet to be told, and the credentials it was given, in the local store.

A change is durable here before Kong hears of it, with a pending mark that is lifted after. Whatever
is pending when a process dies is applied again: each step leaves Kong as it was if done before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kong_scim.bridge import Delete, Revoke, Step, Upsert
from kong_scim.directory.ports import Scope
from kong_scim.directory.sqlite import SqliteTransaction

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS kong_pending (
      number INTEGER PRIMARY KEY AUTOINCREMENT,
      workspace TEXT NOT NULL, tenant TEXT NOT NULL, steps TEXT NOT NULL
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
)

_PROJECTED = frozenset({"consumers", "acls"})

_STEPS: Mapping[str, Any] = {"upsert": Upsert, "delete": Delete, "revoke": Revoke}


def create(transaction: SqliteTransaction) -> None:
    """Make the tables where there are none."""
    for statement in _TABLES:
        transaction.connection.execute(statement)


def add(transaction: SqliteTransaction, scope: Scope, steps: Sequence[Step]) -> int:
    """Note steps on Kong's entities as pending, and return their number.

    What is no consumer and no ACL group is a credential, and kept: unlike those it does not follow
    from a SCIM resource, and would be gone with Kong's memory.
    """
    _forget_credentials(transaction, steps)
    for step in steps:
        if isinstance(step, Upsert) and step.dao not in _PROJECTED:
            _keep_credential(transaction, scope, step)
    cursor = transaction.connection.execute(
        "INSERT INTO kong_pending (workspace, tenant, steps) VALUES (?, ?, ?)",
        [scope.workspace, scope.tenant, json.dumps([vars(step) for step in steps])],
    )
    return int(cursor.lastrowid or 0)


def lift(transaction: SqliteTransaction, number: int) -> None:
    """Take the mark away: Kong has it."""
    transaction.connection.execute("DELETE FROM kong_pending WHERE number = ?", [number])


def lift_all(transaction: SqliteTransaction, scope: Scope) -> None:
    """Take every mark of a tenant away: Kong has all of it."""
    transaction.connection.execute(
        "DELETE FROM kong_pending WHERE workspace = ? AND tenant = ?",
        [scope.workspace, scope.tenant],
    )


def pending(transaction: SqliteTransaction, scope: Scope) -> list[tuple[int, list[Step]]]:
    """Return what Kong has yet to be told, in order, by number."""
    found = transaction.connection.execute(
        "SELECT number, steps FROM kong_pending WHERE workspace = ? AND tenant = ? ORDER BY number",
        [scope.workspace, scope.tenant],
    )
    return [(number, [_step(each) for each in json.loads(text)]) for number, text in found]


def is_pending(transaction: SqliteTransaction, scope: Scope) -> bool:
    """Tell whether there is anything Kong has yet to be told."""
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


def _forget_credentials(transaction: SqliteTransaction, steps: Sequence[Step]) -> None:
    for step in steps:
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
