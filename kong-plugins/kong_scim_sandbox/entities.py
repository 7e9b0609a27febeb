"""Kong's entities on SQLite: consumers, their ACL groups and their keys, as Kong's DAOs have them.

There is one workspace. The functions take a connection, whose transaction is the caller's.
"""

# Names in SQL text are those of DAOS; values are always parameters.
# ruff: noqa: S608

from __future__ import annotations

import json
import re
import secrets
import sqlite3
import string
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from kong_scim.bridge import Scalar
from kong_scim_sandbox.entity_schema import DAOS, Dao, DaoError, Entity, lua, validate

WORKSPACE = "0dc6f45b-8f8d-40d2-a504-473544ee190b"
"""The id of the one workspace, ``default``."""

TABLES = """
CREATE TABLE IF NOT EXISTS consumers (
  id TEXT PRIMARY KEY, username TEXT UNIQUE, custom_id TEXT UNIQUE, tags TEXT,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS acls (
  id TEXT PRIMARY KEY, consumer TEXT NOT NULL REFERENCES consumers ON DELETE CASCADE,
  "group" TEXT NOT NULL, tags TEXT, created_at INTEGER NOT NULL, UNIQUE (consumer, "group")
) STRICT;
CREATE INDEX IF NOT EXISTS acls_group ON acls ("group");
CREATE TABLE IF NOT EXISTS keyauth_credentials (
  id TEXT PRIMARY KEY, consumer TEXT NOT NULL REFERENCES consumers ON DELETE CASCADE,
  "key" TEXT NOT NULL UNIQUE, tags TEXT, ttl INTEGER, created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS keyauth_credentials_consumer ON keyauth_credentials (consumer);
CREATE TABLE IF NOT EXISTS jwt_secrets (
  id TEXT PRIMARY KEY, consumer TEXT NOT NULL REFERENCES consumers ON DELETE CASCADE,
  "key" TEXT NOT NULL UNIQUE, algorithm TEXT NOT NULL, rsa_public_key TEXT NOT NULL,
  tags TEXT, created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS jwt_secrets_consumer ON jwt_secrets (consumer);
CREATE TABLE IF NOT EXISTS scim_subjects (
  id TEXT PRIMARY KEY, subject TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, "user" TEXT NOT NULL,
  not_before INTEGER NOT NULL, changed_at INTEGER NOT NULL, created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS cluster_events (channel TEXT NOT NULL, data TEXT NOT NULL) STRICT;
"""

_KEY_LENGTH = 32
_UNIQUE_FAILURE = re.compile(r"UNIQUE constraint failed: (.+)")


def select(connection: sqlite3.Connection, name: str, field: str, value: Scalar) -> list[Entity]:
    """Return the entities whose field has a value, ordered by their primary key."""
    order = ", ".join(DAOS[name].primary_key)
    return _rows(connection, DAOS[name], f'WHERE "{field}" = ? ORDER BY {order}', [value])


def find(connection: sqlite3.Connection, name: str, entity: Mapping[str, Any]) -> Entity | None:
    """Return the stored entity with the primary key of another one, or None."""
    condition, values = _key(DAOS[name], entity)
    found = _rows(connection, DAOS[name], f"WHERE {condition}", values)
    return found[0] if found else None


def find_consumer(connection: sqlite3.Connection, id_or_username: str) -> Entity | None:
    """Return a consumer by its id, else by its username, else None."""
    for field in ("id", "username"):
        for entity in select(connection, "consumers", field, id_or_username):
            return entity
    return None


def page(
    connection: sqlite3.Connection,
    name: str,
    *,
    size: int,
    after: str = "",
    equal: Mapping[str, Scalar] | None = None,
    tags: Sequence[str] = (),
    any_tag: bool = False,
) -> list[Entity]:
    """Return up to ``size`` entities, ordered by id.

    :param after: The id before the first of the page.
    :param equal: Values that fields must have.
    :param tags: Tags that an entity must have: all of them, or with ``any_tag`` one of them.
    """
    where, values = ["1"], list[Scalar]()
    order = ", ".join(DAOS[name].primary_key)
    if after:
        where.append("id > ?")
        values.append(after)
    for field, value in (equal or {}).items():
        where.append(f'"{field}" = ?')
        values.append(value)
    if tags:
        has = "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)"
        where.append("(" + (" OR " if any_tag else " AND ").join([has] * len(tags)) + ")")
        values.extend(tags)
    values.append(size)
    return _rows(
        connection, DAOS[name], f"WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?", values
    )


def insert(connection: sqlite3.Connection, name: str, entity: Mapping[str, Any]) -> Entity:
    """Write a new entity, and return it. An id, times and a key are made if it has none.

    :raises DaoError: The error of Kong's DAO.
    """
    schema = DAOS[name]
    row = filled(name, entity)
    write(connection, schema, row, known=None)
    condition, values = _key(schema, row)
    return _rows(connection, schema, f"WHERE {condition}", values)[0]


def update(connection: sqlite3.Connection, known: Entity, changes: Mapping[str, Any]) -> Entity:
    """Change some fields of a consumer, and return it.

    :raises DaoError: The error of Kong's DAO.
    """
    schema = DAOS["consumers"]
    validate(schema, {**known, **changes})
    write(connection, schema, changes, known)
    return select(connection, schema.name, "id", known["id"])[0]


def filled(name: str, entity: Mapping[str, Any]) -> Entity:
    """Check a new entity, and return it with its id, times, and a key if it is a key without one.

    :raises DaoError: The error of Kong's schema.
    """
    schema, now = DAOS[name], int(time.time())
    made = {"id": str(uuid.uuid4())} if schema.primary_key == ("id",) else {}
    new: Entity = {**made, "created_at": now, **entity}
    if schema.updated:
        new["updated_at"] = now
    _fill(name, new)
    return new


def _fill(name: str, entity: Entity) -> None:
    if name == "keyauth_credentials" and not entity.get("key"):
        alphabet = string.ascii_letters + string.digits
        entity["key"] = "".join(secrets.choice(alphabet) for _ in range(_KEY_LENGTH))
    validate(DAOS[name], entity)


def delete(connection: sqlite3.Connection, name: str, entity: Mapping[str, Any]) -> None:
    """Delete the entity with the primary key of another one, and what belongs to it."""
    condition, values = _key(DAOS[name], entity)
    connection.execute(f'DELETE FROM "{name}" WHERE {condition}', values)


def _key(schema: Dao, entity: Mapping[str, Any]) -> tuple[str, list[Scalar]]:
    """Return the condition and the values for the primary key of an entity."""
    row = _flat(schema, entity)
    names = schema.primary_key
    return " AND ".join(f'"{name}" = ?' for name in names), [row[name] for name in names]


def _rows(
    connection: sqlite3.Connection, schema: Dao, clause: str, values: Sequence[Scalar]
) -> list[Entity]:
    columns = ", ".join(f'"{column}"' for column in schema.columns)
    found = connection.execute(f'SELECT {columns} FROM "{schema.name}" {clause}', values)
    entities = []
    for row in found.fetchall():
        entity = dict(zip(schema.columns, row, strict=True))
        if schema.tagged:
            entity["tags"] = None if entity["tags"] is None else json.loads(entity["tags"])
        for name in schema.foreign:
            entity[name] = {"id": entity[name]}
        entities.append(entity)
    return entities


def _flat(schema: Dao, entity: Mapping[str, Any]) -> dict[str, Scalar]:
    row = {key: entity[key] for key in schema.columns if key in entity}
    if row.get("tags") is not None:
        row["tags"] = json.dumps(row["tags"])
    for name in schema.foreign:
        if name in row:
            row[name] = row[name]["id"]
    return row


def write(
    connection: sqlite3.Connection, schema: Dao, entity: Mapping[str, Any], known: Entity | None
) -> None:
    """Insert an entity, or update the fields that ``entity`` has.

    :param known: The stored entity to update; None to insert.
    :raises DaoError: The error of Kong's DAO.
    """
    now = int(time.time())
    row = _flat(schema, entity)
    row["created_at"] = known["created_at"] if known else now
    if schema.updated:
        row["updated_at"] = now
    if known:
        changes = ", ".join(f'"{column}" = ?' for column in row)
        statement = f'UPDATE "{schema.name}" SET {changes} WHERE id = ?'
        values = [*row.values(), known["id"]]
    else:
        statement, values = _insertion(schema, row)
    try:
        connection.execute(statement, values)
    except sqlite3.IntegrityError as error:
        raise _violation(connection, schema, entity, error) from error


def primary_key_violation(fields: Mapping[str, Any]) -> DaoError:
    """Return Kong's error for an id that another entity has."""
    message = f"primary key violation on key '{lua(fields)}'"
    return DaoError(3, "primary key violation", message, fields)


def unique_violation(fields: Mapping[str, Any]) -> DaoError:
    """Return Kong's error for a unique value, or a tuple of values, that another entity has."""
    message = f"UNIQUE violation detected on '{lua(fields)}'"
    return DaoError(5, "unique constraint violation", message, fields)


def foreign_key_violation(key: Mapping[str, Any], field: str, name: str) -> DaoError:
    """Return Kong's error for a reference to an entity that does not exist."""
    message = f"the foreign key '{lua(key)}' does not reference an existing '{name}' entity."
    return DaoError(4, "foreign key violation", message, {field: key})


def replace(
    connection: sqlite3.Connection, name: str, entity: Mapping[str, Any], *, gone: bool
) -> None:
    """Write or delete one entity as LMDB does: without checks and cascades.

    :param entity: The entity. Its time to live is the moment when it ends, in seconds since 1970.
    :param gone: Whether the entity is deleted.
    """
    schema = DAOS[name]
    delete(connection, name, entity)
    if gone:
        return
    row = _flat(schema, entity)
    if row.get("ttl") is not None:
        row["ttl"] = int(entity["ttl"]) - int(time.time())
    connection.execute(*_insertion(schema, row))


def _insertion(schema: Dao, row: Mapping[str, Scalar]) -> tuple[str, list[Scalar]]:
    names = ", ".join(f'"{column}"' for column in row)
    places = ", ".join("?" * len(row))
    return f'INSERT INTO "{schema.name}" ({names}) VALUES ({places})', list(row.values())


def _violation(
    connection: sqlite3.Connection,
    schema: Dao,
    entity: Mapping[str, Any],
    error: sqlite3.IntegrityError,
) -> DaoError:
    failure = _UNIQUE_FAILURE.match(str(error))
    if failure is None:  # the only other constraints are the foreign keys
        name, other = next(
            (name, other)
            for name, other in schema.foreign.items()
            if not select(connection, other, "id", entity[name]["id"])
        )
        return foreign_key_violation({"id": entity[name]["id"]}, name, other)
    fields = {
        column.split(".")[1]: entity[column.split(".")[1]] for column in failure[1].split(", ")
    }
    return primary_key_violation(fields) if "id" in fields else unique_violation(fields)
