"""The one SQLite file of the sandbox: the SCIM tables and Kong's entities side by side.

A commit outlives the death of any process: SQLite's WAL is in the file system's hands when COMMIT
answers. A power cut it need not outlive (``synchronous = NORMAL``): no sandbox needs that.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kong_scim.bridge import BridgeError, EntityCounts, Param, Sql
from kong_scim.directory.sqlite import SqliteDatabase, SqliteTransaction
from kong_scim_sandbox import entities
from kong_scim_sandbox.declarative_rows import ConsumerRow
from kong_scim_sandbox.entity_schema import DAOS, DaoError, is_text

_CONSUMER_KEYS = ("id", "username", "custom_id")


_MARKS = """
CREATE TABLE IF NOT EXISTS marks (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS own (dao TEXT, id TEXT, PRIMARY KEY (dao, id)) STRICT
"""
"""DB-less: what the plugin knows its rows by, and which rows SCIM wrote (``own.lua``)."""


class Store:
    """Kong's database: the SCIM tables and its entities; or, DB-less, its memory for the latter.

    :param path: The SQLite file; it is made where there is none.
    :param dbless: Whether it has no SCIM tables and takes no writes but those of the bridge.
    """

    def __init__(self, path: Path, *, dbless: bool = False) -> None:
        self.dbless = dbless
        self._writer = SqliteDatabase(path)
        self._path = path
        self._readers = threading.local()
        self.entities = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        """For reads of the event loop's thread; each sees the last commit."""
        self.entities.executescript(entities.TABLES)
        self.entities.executescript(_MARKS)

    def close(self) -> None:
        """Close the file."""
        self.entities.close()
        self._writer.close()

    def query(
        self,
        statements: Sequence[Mapping[str, Any]],
        consumers: Mapping[str, Sequence[str]],
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Answer ``kong.scim.query``: rows by statement, and consumers with their ACL groups.

        :param timeout: In seconds: how long each statement may take.

        :raises ~kong_scim.bridge.BridgeError: As the bridge would.
        """
        if statements and self.dbless:
            raise BridgeError("BAD_REQUEST", "this Kong has no database for SCIM's tables", step=0)
        rows = self._reader.query(
            [_statement(index, step) for index, step in enumerate(statements)], timeout
        )
        with self._reading() as connection:
            found = {
                entity["id"]: entity
                for key in _CONSUMER_KEYS
                for value in filter(_is_storable, consumers.get(key) or ())
                for entity in entities.select(connection, "consumers", key, value)
            }
            return {
                "sql": rows,
                "consumers": [
                    {
                        **_with_acls(connection, found[key]),
                        "declared": self.dbless and not _is_own(connection, "consumers", key),
                    }
                    for key in sorted(found)
                ],
            }

    def tagged(self, tag: str) -> list[str]:
        """Return the ids of SCIM's consumers with a tag; what is declared is not its own."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT c.id FROM consumers AS c, json_each(c.tags) AS tag WHERE tag.value = ?"
                " AND EXISTS (SELECT 1 FROM own WHERE dao = 'consumers' AND own.id = c.id)",
                [tag],
            )
            return [identifier for (identifier,) in found]

    def is_own(self, name: str, identifier: str) -> bool:
        """Whether SCIM may write an entity: with a database each, for there nothing is declared."""
        return not self.dbless or _is_own(self.entities, name, identifier)

    def mark(self, key: str) -> str | None:
        """Return a mark of the memory, or None."""
        with self._reading() as connection:
            return _mark(connection, key)

    def commit(
        self,
        steps: Sequence[Mapping[str, Any]],
        mark: Mapping[str, Any] | None = None,
        *,
        check: bool = False,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Answer ``kong.scim.commit``: every step in one transaction, or none.

        :param mark: ``key``, ``is`` and ``becomes``; ``check``: only say whether it could be done.
        :param timeout: In seconds: how long each statement may take.
        :raises ~kong_scim.bridge.BridgeError: As the bridge would, with the index of the step.
        """
        results: list[dict[str, Any]] = []
        touched: dict[str, None] = {}
        with suppress(_Checked), self._writer.transaction(timeout) as transaction:
            connection = transaction.connection
            if mark and _mark(connection, mark["key"]) != mark["is"]:
                raise BridgeError("MARK", "the configuration was loaded anew")
            for index, step in enumerate(steps):
                if self.dbless and step["op"] in {"sql", "undo"}:
                    raise BridgeError("BAD_REQUEST", "no SQL here", step=index)
                if self.dbless:
                    _own(connection, index, step)
                results.append(_run(transaction, index, step, touched))
            if check:
                raise _Checked
            if mark and mark["becomes"] is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO marks (key, value) VALUES (?, ?)",
                    [mark["key"], mark["becomes"]],
                )
        return {"results": results}

    def load(self, consumers: Sequence[ConsumerRow]) -> None:
        """Replace everything by the consumers of a declarative file, as a DB-less Kong does.

        :raises DaoError: As Kong's DAOs would; nothing changes then.
        """
        with self.writing() as connection:
            for name in ("marks", "own", "keyauth_credentials", "acls", "consumers"):
                connection.execute(f"DELETE FROM {name}")  # noqa: S608 - names of our own
            for row in consumers:
                _declare(connection, row)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction for the Admin API."""
        with self._writer.transaction() as transaction:
            yield transaction.connection

    def declare(self, consumers: Sequence[ConsumerRow]) -> None:
        """Write the consumers of a declarative file, but those whose name is there already.

        :raises DaoError: As Kong's DAOs would.
        """
        with self.writing() as connection:
            for row in consumers:
                name = ("username", row.username) if row.username else ("custom_id", row.custom_id)
                if not entities.select(connection, "consumers", *name):
                    _declare(connection, row)

    @property
    def _reader(self) -> SqliteDatabase:
        """A connection of this thread: on Kong, too, no request waits for another one's."""
        found = getattr(self._readers, "database", None)
        if found is None:
            found = self._readers.database = SqliteDatabase(self._path)
        return found

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._reader.reading() as transaction:
            yield transaction.connection


class _Checked(Exception):  # noqa: N818 - no error: it ends a transaction that is not to be kept
    pass


def _mark(connection: sqlite3.Connection, key: str) -> str | None:
    found = connection.execute("SELECT value FROM marks WHERE key = ?", [key]).fetchone()
    return found and str(found[0])


def _is_own(connection: sqlite3.Connection, name: str, identifier: str) -> bool:
    found = connection.execute("SELECT 1 FROM own WHERE dao = ? AND id = ?", [name, identifier])
    return found.fetchone() is not None


def _own(connection: sqlite3.Connection, index: int, step: Mapping[str, Any]) -> None:
    """Note what a step writes as SCIM's (``memory.lua``).

    :raises ~kong_scim.bridge.BridgeError: Where the declarative configuration declares it.
    """
    if step["op"] == "revoke":
        touched = [("consumers", str(step["consumer"]))]
    elif step["op"] == "upsert" and step["dao"] in DAOS:
        touched = [(step["dao"], str(step["entity"]["id"]))]
    elif step["op"] == "delete" and step["dao"] in DAOS:
        touched = [(step["dao"], str(step["id"]))]
    else:
        return
    for name, identifier in touched:
        present = entities.select(connection, name, "id", identifier)
        if present and not _is_own(connection, name, identifier):
            message = "the gateway's configuration declares it, and it can be changed only there"
            raise BridgeError("DECLARED", message, step=index)
        if step["op"] == "upsert":
            connection.execute("INSERT OR IGNORE INTO own VALUES (?, ?)", [name, identifier])
        elif step["op"] == "delete":
            connection.execute("DELETE FROM own WHERE dao = ? AND id = ?", [name, identifier])


def _declare(connection: sqlite3.Connection, row: ConsumerRow) -> None:
    fields = row.model_dump(exclude={"keyauth_credentials", "acls"}, exclude_none=True)
    consumer = {"id": entities.insert(connection, "consumers", fields)["id"]}
    for name in ("keyauth_credentials", "acls"):
        for owned in getattr(row, name):
            fields = owned.model_dump(exclude={"consumer"}, exclude_none=True)
            entities.insert(connection, name, {**fields, "consumer": consumer})


def _with_acls(connection: sqlite3.Connection, consumer: Mapping[str, Any]) -> dict[str, Any]:
    owned = entities.select(connection, "acls", "consumer", consumer["id"])
    return {
        **{key: consumer[key] for key in _CONSUMER_KEYS},
        "tags": consumer["tags"] or [],
        "acls": [
            {"id": row["id"], "group": row["group"], "tags": row["tags"] or []}
            for row in sorted(owned, key=lambda row: str(row["group"]))
        ],
    }


def _statement(index: int, step: Mapping[str, Any]) -> Sql:
    for position, value in enumerate(step.get("params") or (), 1):
        if not _is_storable(value):
            raise BridgeError(
                "BAD_REQUEST",
                f"the value of ${position} has a character that PostgreSQL cannot hold",
                step=index,
                label=step.get("label"),
            )
    return Sql(
        step["sql"],
        tuple(map(_param, step.get("params") or ())),
        rows=step.get("rows"),
        label=step.get("label"),
    )


def _param(value: Any) -> Param:
    return EntityCounts() if value == vars(EntityCounts()) else value


def _run(
    transaction: SqliteTransaction,
    index: int,
    step: Mapping[str, Any],
    touched: dict[str, None],
) -> dict[str, Any]:
    """Run a step.

    :param touched: The ids of the consumers that steps wrote, or of which they wrote something.
    """
    connection = transaction.connection
    try:
        if step["op"] == "sql":
            result = transaction.run(_statement(index, step))
            return {"rows": result.rows, "data": result.data, "entities": {}}
        if step["op"] == "undo":
            return vars(transaction.undo())
        if step["op"] == "claim":
            _claim(connection, step)
            return {"rows": 0, "data": [], "entities": {}}
        if step["op"] == "stamp":
            ids = list(touched) if step["consumers"] is None else step["consumers"]
            entities.stamp(connection, ids, step["event"])
            return {"rows": 0, "data": [{"id": each} for each in ids], "entities": {}}
        consumer = _consumer_of(connection, step)
        written = _OPERATIONS[step["op"]](connection, step)
        transaction.tally.add(step["op"], written)
        if written and consumer:
            touched[consumer] = None
        if step["op"] == "delete" and step["dao"] == "consumers":
            touched.pop(step["id"], None)
    except BridgeError as error:
        error.step = index
        raise
    except DaoError as error:
        raise BridgeError(
            error.name, error.message, code=error.code, step=index, fields=error.fields
        ) from error
    except KeyError as error:
        message = f"this gateway has no {error.args[0]!r}"
        raise BridgeError("BAD_REQUEST", message, step=index) from error
    return {"rows": 0, "data": [], "entities": written}


def _claim(connection: sqlite3.Connection, step: Mapping[str, Any]) -> None:
    for group in step["groups"]:
        given = entities.select(connection, "acls", "group", group["name"])
        if given and not any(step["tag"] in (acl["tags"] or ()) for acl in given):
            message = "somebody else gives this ACL group"
            raise BridgeError("GROUP_TAKEN", message, fields={"group": group["name"]})


def _consumer_of(connection: sqlite3.Connection, step: Mapping[str, Any]) -> str | None:
    """Return the id of the consumer that a step is about."""
    if step["op"] == "revoke":
        return str(step["consumer"])
    if step["op"] == "upsert":
        entity = step["entity"]
        return str(entity["id"] if step["dao"] == "consumers" else entity["consumer"]["id"])
    if step["dao"] == "consumers":
        return str(step["id"])
    found = entities.select(connection, step["dao"], "id", step["id"])
    return str(found[0]["consumer"]["id"]) if found else None


def _upsert(connection: sqlite3.Connection, step: Mapping[str, Any]) -> dict[str, int]:
    name, entity = step["dao"], step["entity"]
    if not _is_storable(entity):
        message = "the entity has a character that PostgreSQL cannot hold"
        raise BridgeError("BAD_REQUEST", message)
    only_new = bool(step.get("unless_present"))
    return {name: 1} if entities.upsert(connection, name, entity, unless_present=only_new) else {}


def _delete(connection: sqlite3.Connection, step: Mapping[str, Any]) -> dict[str, int]:
    return entities.delete(connection, step["dao"], step["id"])


def _revoke(connection: sqlite3.Connection, step: Mapping[str, Any]) -> dict[str, int]:
    if step.get("issued"):  # to OAuth clients, which the sandbox does not have
        return {}
    counts = {
        name: entities.delete_owned(connection, name, step["consumer"])
        for name in entities.CREDENTIALS
    }
    return {name: count for name, count in counts.items() if count}


_OPERATIONS = {"upsert": _upsert, "delete": _delete, "revoke": _revoke}


def _is_storable(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_storable, [*value, *value.values()]))
    if isinstance(value, list):
        return all(map(_is_storable, value))
    return not isinstance(value, str) or is_text(value)
