"""The one SQLite file of the sandbox: the SCIM tables and Kong's entities side by side.

A commit outlives the death of any process: SQLite's WAL is in the file system's hands when COMMIT
answers. A power cut it need not outlive (``synchronous = NORMAL``): no sandbox needs that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kong_scim.directory import ddl
from kong_scim_sandbox import entities
from kong_scim_sandbox.declarative_rows import ConsumerRow
from kong_scim_sandbox.lua.database import LMDB, Database
from kong_scim_sandbox.lua.workers import Workers


class Store:
    """Kong's database: the SCIM tables and its entities; or, DB-less, its memory for the latter.

    :param path: The SQLite file; it is made where there is none.
    :param dbless: Whether it has no SCIM tables and takes no writes but those of the bridge.
    :ivar entities: For reads of the event loop's thread; each sees the last commit.
    :ivar database: The same file as the bridge has it.
    :ivar bridge: The only one that writes for SCIM.
    """

    def __init__(self, path: Path, *, dbless: bool = False) -> None:
        self.dbless = dbless
        self.entities = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.entities.execute("PRAGMA journal_mode = WAL")
        self.entities.executescript(entities.TABLES)
        self.entities.executescript(LMDB)
        for statement in () if dbless else ddl.statements("sqlite"):
            self.entities.execute(statement)
        self.database = Database(path, dbless=dbless)
        self.bridge = Workers(self.database, dbless=dbless)

    def close(self) -> None:
        """Close the file."""
        self.entities.close()
        self.database.close()

    def load(self, consumers: Sequence[ConsumerRow]) -> None:
        """Replace everything by the consumers of a declarative file, as a DB-less Kong does.

        :raises DaoError: As Kong's DAOs would; nothing changes then.
        """
        with self.writing() as connection:
            for name in ("lmdb", "keyauth_credentials", "acls", "consumers"):
                connection.execute(f"DELETE FROM {name}")  # noqa: S608 - names of our own
            for row in consumers:
                _declare(connection, row)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction for the Admin API; what is cached is forgotten after it."""
        with self.database.writing() as connection:
            yield connection
        self.bridge.caches.drop("cache")

    def declare(self, consumers: Sequence[ConsumerRow]) -> None:
        """Write the consumers of a declarative file, but those whose name is there already.

        :raises DaoError: As Kong's DAOs would.
        """
        with self.writing() as connection:
            for row in consumers:
                name = ("username", row.username) if row.username else ("custom_id", row.custom_id)
                if not entities.select(connection, "consumers", *name):
                    _declare(connection, row)


def _declare(connection: sqlite3.Connection, row: ConsumerRow) -> None:
    fields = row.model_dump(exclude={"keyauth_credentials", "acls"}, exclude_none=True)
    consumer = {"id": entities.insert(connection, "consumers", fields)["id"]}
    for name in ("keyauth_credentials", "acls"):
        for owned in getattr(row, name):
            fields = owned.model_dump(exclude={"consumer"}, exclude_none=True)
            entities.insert(connection, name, {**fields, "consumer": consumer})
