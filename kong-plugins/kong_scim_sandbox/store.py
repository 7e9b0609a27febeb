"""The SQLite file of the sandbox, with the SCIM tables and Kong's entities.

A commit survives the end of any process, because SQLite has written its WAL to the file when COMMIT
returns. It may not survive a power failure (``synchronous = OFF``), as no sandbox needs that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kong_scim.directory import ddl
from kong_scim_sandbox import entities
from kong_scim_sandbox.declarative_rows import ConsumerRow
from kong_scim_sandbox.entity_schema import DAOS
from kong_scim_sandbox.lua.database import LMDB, SandboxDatabase
from kong_scim_sandbox.lua.workers import Workers


class Store:
    """Stands for Kong's database, or for the memory of a DB-less Kong.

    :param path: The SQLite file, which is made if there is none.
    :param dbless: Whether it has no SCIM tables, and only the bridge may write.
    :param settings: See :class:`.Workers`.
    :ivar changed: Called after the Admin API has written.
    :ivar entities: The connection for reads in the event loop's thread. Each sees the last commit.
    :ivar database: The same file for the bridge.
    :ivar bridge: Runs scim-bridge, which alone writes for SCIM.
    """

    def __init__(
        self, path: Path, *, dbless: bool = False, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.dbless = dbless
        self.changed: Callable[[], None] = lambda: None
        self.entities = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.entities.execute("PRAGMA journal_mode = WAL")
        self.entities.execute("PRAGMA synchronous = OFF")
        self.entities.executescript(entities.TABLES)
        self.entities.executescript(LMDB)
        for statement in () if dbless else ddl.statements("sqlite"):
            self.entities.execute(statement)
        self.database = SandboxDatabase(path, dbless=dbless)
        self.bridge = Workers(self.database, dbless=dbless, settings=settings)

    def close(self) -> None:
        """Close all connections to the file."""
        self.entities.close()
        self.database.close()

    def load(self, consumers: Sequence[ConsumerRow]) -> None:
        """Replace all entities by the consumers of a declarative file, as a DB-less Kong does.

        :raises DaoError: The error of Kong's DAOs. Nothing changes then.
        """
        with self.writing() as connection:
            for name in ("lmdb", *reversed(DAOS)):
                connection.execute(f"DELETE FROM {name}")  # noqa: S608 - names of our own
            for row in consumers:
                _declare(connection, row)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction for the Admin API, and clear the cache after it."""
        with self.database.writing() as connection:
            yield connection
        self.bridge.caches.drop("cache")
        self.changed()

    def declare(self, consumers: Sequence[ConsumerRow]) -> None:
        """Write the consumers of a declarative file, without those whose name exists already.

        :raises DaoError: The error of Kong's DAOs.
        """
        with self.writing() as connection:
            for row in consumers:
                name = ("username", row.username) if row.username else ("custom_id", row.custom_id)
                if not entities.select(connection, "consumers", *name):
                    _declare(connection, row)


def _declare(connection: sqlite3.Connection, row: ConsumerRow) -> None:
    owned_kinds = ("keyauth_credentials", "jwt_secrets", "acls")
    fields = row.model_dump(exclude={*owned_kinds}, exclude_none=True)
    consumer = {"id": entities.insert(connection, "consumers", fields)["id"]}
    for name in owned_kinds:
        for owned in getattr(row, name):
            fields = owned.model_dump(exclude={"consumer"}, exclude_none=True)
            entities.insert(connection, name, {**fields, "consumer": consumer})
