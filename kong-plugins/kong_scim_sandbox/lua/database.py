"""Serves SQL, Kong's entities and LMDB's keys to the Lua, from the sandbox's SQLite file."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kong_scim_sandbox import entities
from kong_scim_sandbox.entity_schema import DAOS, DaoError, Entity, lua

LMDB = """
CREATE TABLE IF NOT EXISTS lmdb (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT
"""
"""The table of keys that scim-bridge keeps in a DB-less Kong's LMDB besides the entities."""

_PATH = {"acls": "acls", "keyauth_credentials": "key-auth", "jwt_secrets": "jwt"}
"""The part of the Admin API's path for each kind of entity."""

_MAPPED = 1 << 30
"""Bytes of the file that are read as memory, rather than copied into each connection's cache."""

_CACHE = 16 * 1024
"""KiB of the cache of each connection."""

_BUSY = 10.0
"""Seconds that a statement waits for another process."""

_PROGRESS = 100_000
"""SQLite's instructions (about a millisecond) between two checks of a statement's timeout."""

_STATEMENT = re.compile(r"""(?:[^'";]++|'[^']*+'|"[^"]*+")+""")
"""A statement, with what is quoted in it. A doubled quote is two quoted texts side by side."""

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
"""SQLSTATE (PostgreSQL, appendix A) by SQLite's name of an error. Others are system errors."""

_SYSTEM_ERROR = "58000"


class _ThreadConnection(threading.local):
    """The connection of one thread, which is opened when it is first used."""

    sqlite: sqlite3.Connection | None = None
    writes: bool = False
    timeout: float = 0
    until: float = 0


class SandboxDatabase:
    """One SQLite file, which one thread at a time writes.

    Each thread reads with a connection of its own. All write with one, because SQLite empties the
    cache of a connection when another one has written.

    :param dbless: Whether it stands for LMDB, which does not check foreign keys.
    """

    def __init__(self, path: Path, *, dbless: bool) -> None:
        self.turn = threading.RLock()
        """The lock of the thread that writes."""
        self._path = path
        self._dbless = dbless
        self._local = _ThreadConnection()
        self._all: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close all connections."""
        for connection in self._all:
            connection.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """Return the connection that this thread uses now."""
        if self._local.writes:
            if self._writer is None:
                self._writer = self._connect()
            return self._writer
        if self._local.sqlite is None:
            self._local.sqlite = self._connect()
        return self._local.sqlite

    def reader(self) -> sqlite3.Connection:
        """Open a further connection to the file. The caller closes it."""
        return sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY)

    def _connect(self) -> sqlite3.Connection:
        made = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY
        )
        # What COMMIT wrote to the file outlives any process, and only a power cut can take it.
        made.execute("PRAGMA synchronous = OFF")
        made.execute(f"PRAGMA mmap_size = {_MAPPED}")
        made.execute(f"PRAGMA cache_size = -{_CACHE}")
        made.execute(f"PRAGMA foreign_keys = {'OFF' if self._dbless else 'ON'}")
        made.create_function("statement_timeout", 1, self._set_timeout)
        made.create_function("moment", 0, lambda: time.time_ns() // 1000)
        self._all.append(made)
        return made

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that writes. If its block fails, nothing is changed."""
        self._begin_turn()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")
        finally:
            self._end_turn()

    # -- SQL ----------------------------------------------------------------

    def query(self, text: str) -> str:
        """Run statements until one fails; return the result of each, and the error, as JSON."""
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
        """Roll back the transaction of this thread, if there is one."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self._end_turn()

    def _run(self, statement: str) -> dict[str, Any]:
        if statement == "BEGIN IMMEDIATE":
            self._begin_turn()
        connection = self.connection
        self._local.until = time.monotonic() + self._local.timeout
        limited = self._local.timeout and connection.in_transaction
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

    def _begin_turn(self) -> None:
        if not self._local.writes:
            self.turn.acquire()
            self._local.writes = True

    def _end_turn(self) -> None:
        if self._local.writes:
            self._local.writes = False
            self.turn.release()

    def _set_timeout(self, milliseconds: float) -> float:
        self._local.timeout = milliseconds / 1000
        return milliseconds

    def _is_late(self) -> bool:
        return time.monotonic() > self._local.until

    # -- Entities -----------------------------------------------------------

    def schemas(self) -> str:
        """Return the schemas of Kong's entities as JSON."""
        return json.dumps(
            [
                {
                    "name": dao.name,
                    "strings": dao.strings,
                    "numbers": dao.numbers,
                    "unique": dict.fromkeys(dao.unique, True),
                    "cache_key": dao.cache_key,
                    "foreign": dao.foreign,
                    "primary_key": dao.primary_key,
                    "tagged": dao.tagged,
                    "updated": dao.updated,
                    "path": _PATH.get(dao.name),
                }
                for dao in DAOS.values()
            ]
        )

    def entity_filled(self, name: str, text: str) -> str:
        """Check a new entity, and return it with its generated fields, or an error, as JSON."""

        return _answer(lambda: entities.filled(name, json.loads(text)))

    def entity_rows(self, name: str, field: str | None = None, value: str | None = None) -> str:
        """Return the entities whose field has a value, or all without a field, as JSON.

        :param field: The name of a field, or ``cache_key``.
        :param value: The value of the field, or the cache key: the entity's name and the values of
            its fields, with colons between them.
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
        """Insert an entity, or update its fields if it is ``known``; return it as JSON."""

        def written() -> list[Entity]:
            entity = json.loads(text)
            found = entities.find(self.connection, name, entity) if known else None
            entities.write(self.connection, DAOS[name], entity, known=found)
            stored = entities.find(self.connection, name, entity)
            return [stored] if stored else []

        return _answer(written)

    def entity_delete(self, name: str, text: str) -> str:
        """Delete an entity with the entities that belong to it.

        :param text: Its primary key as JSON.
        """
        entities.delete(self.connection, name, json.loads(text))
        return json.dumps({"ok": True})

    # -- LMDB ---------------------------------------------------------------

    def lmdb_get(self, key: str) -> str | None:
        """Return the value of a key, or None."""
        found = self.connection.execute("SELECT value FROM lmdb WHERE key = ?", [key]).fetchone()
        return found and str(found[0])

    def lmdb_page(self, start: str, prefix: str, size: float) -> str:
        """Return the first rows with a prefix, from a key on, as JSON."""
        found = self.connection.execute(
            "SELECT key, value FROM lmdb WHERE key >= ? AND substr(key, 1, ?) = ? ORDER BY key"
            " LIMIT ?",
            [start, len(prefix), prefix, int(size)],
        )
        return json.dumps([{"key": key, "value": value} for key, value in found])

    def lmdb_commit(self, text: str) -> str:
        """Run all of some operations or none; return the result of each as JSON."""
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
            cursor = self.connection.execute("DELETE FROM lmdb WHERE key = ?", [key])
            if not cursor.rowcount:
                raise LookupError(f"there is no {key}")
        elif row is not None:
            entities.replace(self.connection, name, row, gone=op == "delete_entity")
        return None


def error(name: str, text: str) -> str:
    """Return an error of Kong's DAOs as JSON.

    :param name: The name of a function of ``kong/db/errors.lua``.
    :param text: The arguments of that function, as a JSON list.
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
    for found in _STATEMENT.finditer(text):
        statement = found[0].strip()
        if statement:
            yield statement
