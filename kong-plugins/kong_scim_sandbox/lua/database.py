"""The sandbox's SQLite file as the Lua asks for it: SQL, Kong's entities, and LMDB's keys."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kong_scim_sandbox import entities
from kong_scim_sandbox.entity_schema import DAOS, DaoError, Entity, lua

LMDB = """
CREATE TABLE IF NOT EXISTS lmdb (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT
"""
"""What scim-bridge keeps in a DB-less Kong's memory beside the entities."""

_PATH = {"acls": "acls", "keyauth_credentials": "key-auth"}
"""The part of an Admin API's path that stands for an entity."""

_BUSY = 10.0
"""Seconds that a statement waits for another process."""

_PROGRESS = 100_000
"""Instructions of SQLite, about a millisecond's, after which a statement is held to its time."""

_PARTS = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|;|[^'";]+""")

_STATES = {
    "SQLITE_CONSTRAINT_FOREIGNKEY": "23503",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "23505",
    "SQLITE_CONSTRAINT_UNIQUE": "23505",
    "SQLITE_INTERRUPT": "57014",
    "SQLITE_BUSY": "55P03",
    "SQLITE_LOCKED": "55P03",
    "SQLITE_READONLY": "25006",
    "SQLITE_ERROR": "42601",
    "SQLITE_MISMATCH": "42804",
    "SQLITE_CONSTRAINT_DATATYPE": "42804",
    "SQLITE_CONSTRAINT_NOTNULL": "23502",
    "SQLITE_CONSTRAINT_CHECK": "23514",
}
"""SQLSTATE (PostgreSQL, appendix A) by SQLite's name of an error; any other is a system error."""

_SYSTEM_ERROR = "58000"


class _Connection(threading.local):
    """The connection of one thread, opened when it is asked for first."""

    sqlite: sqlite3.Connection | None = None
    writes: bool = False
    timeout: float = 0
    until: float = 0


class Database:
    """One SQLite file with a connection for each thread, of which one at a time writes.

    :param dbless: Whether it stands for LMDB, which knows no references.
    """

    def __init__(self, path: Path, *, dbless: bool) -> None:
        self.turn = threading.RLock()
        """Held by who writes."""
        self._path = path
        self._dbless = dbless
        self._own = _Connection()
        self._all: list[sqlite3.Connection] = []

    def close(self) -> None:
        """Close all connections."""
        for connection in self._all:
            connection.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """Return the connection of this thread."""
        if self._own.sqlite is None:
            made = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY
            )
            made.execute("PRAGMA synchronous = NORMAL")
            made.execute(f"PRAGMA foreign_keys = {'OFF' if self._dbless else 'ON'}")
            made.create_function("statement_timeout", 1, self._set_timeout)
            self._own.sqlite = made
            self._all.append(made)
        return self._own.sqlite

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that writes, or changes nothing where it fails."""
        with self.turn:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    # -- SQL ----------------------------------------------------------------

    def query(self, text: str) -> str:
        """Run statements until one fails, and answer what each did, and the error."""
        results: list[dict[str, Any]] = []
        error = None
        for statement in _statements(text):
            try:
                results.append(self._run(statement))
            except sqlite3.Error as failure:
                state = _STATES.get(getattr(failure, "sqlite_errorname", ""), _SYSTEM_ERROR)
                error = {"message": str(failure), "sqlstate": state}
                break
        return json.dumps({"results": results, "error": error})

    def roll_back(self) -> None:
        """End the transaction of this thread, if there is one, with nothing written."""
        if self._own.sqlite is not None and self._own.sqlite.in_transaction:
            self._own.sqlite.execute("ROLLBACK")
        self._end_turn()

    def _run(self, statement: str) -> dict[str, Any]:
        connection = self.connection
        if statement == "BEGIN IMMEDIATE" and not self._own.writes:
            self.turn.acquire()
            self._own.writes = True
        self._own.until = time.monotonic() + self._own.timeout
        limited = self._own.timeout and connection.in_transaction
        connection.set_progress_handler(self._is_late if limited else None, _PROGRESS)
        try:
            cursor = connection.execute(statement)
            rows = None
            if cursor.description is not None:
                columns = [column[0] for column in cursor.description]
                rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        finally:
            connection.set_progress_handler(None, 0)
        if not connection.in_transaction:
            self._end_turn()
        affected = cursor.rowcount if rows is None else None
        return {"rows": rows, "affected_rows": affected if affected != -1 else None}

    def _end_turn(self) -> None:
        if self._own.writes:
            self._own.writes = False
            self.turn.release()

    def _set_timeout(self, milliseconds: float) -> float:
        self._own.timeout = milliseconds / 1000
        return milliseconds

    def _is_late(self) -> bool:
        return time.monotonic() > self._own.until

    # -- Entities -----------------------------------------------------------

    def schemas(self) -> str:
        """Answer the schemas of Kong's entities."""
        return json.dumps(
            [
                {
                    "name": dao.name,
                    "strings": dao.strings,
                    "numbers": dao.numbers,
                    "unique": {name: True for name in dao.strings if name != "group"},
                    "cache_key": dao.cache_key,
                    "owned": dao.owned,
                    "path": _PATH.get(dao.name),
                }
                for dao in DAOS.values()
            ]
        )

    def entity_filled(self, name: str, text: str) -> str:
        """Answer a new entity with what it does not say, held to its schema."""

        def filled() -> Entity:
            now = int(time.time())
            entity: Entity = {"id": str(uuid.uuid4()), "created_at": now, **json.loads(text)}
            if not DAOS[name].owned:
                entity["updated_at"] = now
            entities.fill(name, entity)
            return entity

        return _answer(filled)

    def entity_rows(self, name: str, field: str | None = None, value: str | None = None) -> str:
        """Answer the entities whose field has a value; all of them without a field.

        :param field: ``cache_key`` for the fields of one, behind the name of the entity.
        """
        if field is None:
            return _answer(lambda: entities.page(self.connection, name, size=-1))
        if field == "cache_key":
            names = DAOS[name].cache_key
            values = str(value).split(":", len(names))[1:]
            equal = dict(zip(names, values, strict=True))
            return _answer(lambda: entities.page(self.connection, name, size=1, equal=equal))
        return _answer(lambda: entities.select(self.connection, name, field, value))

    def entity_write(self, name: str, text: str, known: bool) -> str:
        """Write a new entity, or the given fields of one that is there, and answer it."""

        def written() -> list[Entity]:
            entity = json.loads(text)
            found = entities.select(self.connection, name, "id", entity["id"]) if known else []
            entities.write(self.connection, DAOS[name], entity, known=found[0] if found else None)
            return entities.select(self.connection, name, "id", entity["id"])

        return _answer(written)

    def entity_delete(self, name: str, identifier: str) -> str:
        """Delete an entity with all that belongs to it."""
        entities.delete(self.connection, name, identifier)
        return json.dumps({"ok": True})

    # -- LMDB ---------------------------------------------------------------

    def lmdb_get(self, key: str) -> str | None:
        """Return the value of a key."""
        found = self.connection.execute("SELECT value FROM lmdb WHERE key = ?", [key]).fetchone()
        return found and str(found[0])

    def lmdb_commit(self, text: str) -> str:
        """Do all of some operations or none, and answer what each found."""
        try:
            with self.writing():
                found = [self._operate(**operation) for operation in json.loads(text)]
        except (LookupError, sqlite3.Error) as error:
            return json.dumps({"error": str(error)})
        return json.dumps({"ok": found})

    def _operate(
        self,
        op: str,
        key: str = "",
        value: str = "",
        name: str = "",
        row: Mapping[str, Any] | None = None,
    ) -> str | None:
        if op == "get":
            return self.lmdb_get(key)
        if op == "set":
            self.connection.execute("INSERT OR REPLACE INTO lmdb VALUES (?, ?)", [key, value])
        elif op == "delete":
            gone = self.connection.execute("DELETE FROM lmdb WHERE key = ?", [key])
            if not gone.rowcount:
                raise LookupError(f"there is no {key}")
        elif row is not None:
            entities.replace(self.connection, name, row, gone=op == "delete_entity")
        return None


def error(name: str, text: str) -> str:
    """Answer an error of Kong's DAOs.

    :param name: That of the function of ``kong/db/errors.lua``; ``text``: its arguments.
    """
    first, *others = json.loads(text)
    made: dict[str, Callable[..., DaoError]] = {
        "unique_violation": entities.unique_violation,
        "primary_key_violation": entities.primary_key_violation,
        "foreign_key_violation_invalid_reference": entities.foreign_key_violation,
        "foreign_key_violation_restricted": lambda parent, child: DaoError(
            4, "foreign key violation", f"an existing '{child}' entity references '{parent}'", {}
        ),
        "not_found": lambda key: DaoError(
            6, "not found", f"could not find the entity with primary key '{lua(key)}'", key
        ),
        "invalid_primary_key": lambda key: DaoError(
            1, "invalid primary key", f"invalid primary key: '{lua(key)}'", {"id": "a valid UUID"}
        ),
        "schema_violation": lambda fields: DaoError(
            2, "schema violation", f"schema violation ({lua(fields)})", fields
        ),
    }
    return json.dumps(made[name](first, *others).body())


def _answer(function: Callable[[], Any]) -> str:
    try:
        return json.dumps({"ok": function()})
    except DaoError as refusal:
        return json.dumps({"error": refusal.body()})


def _statements(text: str) -> Iterator[str]:
    """Yield the statements of a text."""
    statement = ""
    for part in _PARTS.findall(text):
        if part != ";":
            statement += part
            continue
        yield statement.strip()
        statement = ""
    if statement.strip():
        yield statement.strip()
