"""Runs the statements of the directory on a SQLite file: for the sandbox, DB-less Kong and
tests."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from kong_scim.bridge import (
    BridgeError,
    DatabaseDownError,
    Dialect,
    EntityCounter,
    EntityCounts,
    RollbackDryRun,
    RowCountError,
    Sql,
    StatementTimeoutError,
    Step,
    StepResult,
    bridge_error,
)
from kong_scim.directory import ddl

# Kong's names and codes (kong/db/errors.lua), as scim-bridge's sql.lua gives them.
_VIOLATIONS = {
    "SQLITE_CONSTRAINT_FOREIGNKEY": ("foreign key violation", 4),
    "SQLITE_CONSTRAINT_PRIMARYKEY": ("unique violation", 5),
    "SQLITE_CONSTRAINT_UNIQUE": ("unique violation", 5),
}


PROGRESS = 100_000
"""How many instructions of SQLite run, about a millisecond, before a statement's time is
checked."""


class SqliteTransaction:
    """An open transaction, which is rolled back if the block that opened it raises.

    :param timeout: How many seconds a statement may take; None for no limit.
    """

    def __init__(self, connection: sqlite3.Connection, timeout: float | None = None) -> None:
        self._timeout = timeout
        self.connection = connection
        """The connection, for statements on other tables in the same transaction."""
        self.entities = EntityCounter()
        """The entities that the commit wrote: the value of a parameter :class:`EntityCounts`."""
        self._steps = 0

    def run(self, statement: Sql) -> StepResult:
        """Run a statement, and check its number of rows.

        :raises BridgeError: ``ROW_COUNT`` when it touched or returned another number of rows,
            ``unique violation`` and ``foreign key violation`` as scim-bridge names them,
            ``TIMEOUT`` when it took too long, ``DATABASE`` when SQLite refuses it; each with the
            index of the statement in this transaction.
        """
        step, self._steps = self._steps, self._steps + 1
        # To SQLite, ``$1`` is a parameter with the name 1.
        values = {
            str(index): self.entities.text() if isinstance(value, EntityCounts) else value
            for index, value in enumerate(statement.params, 1)
        }
        data: list[dict[str, Any]] = []
        self._limit()
        try:
            cursor = self.connection.execute(statement.sql, values)
            rows = cursor.rowcount
            if cursor.description is not None:
                columns = [column[0] for column in cursor.description]
                data = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
                rows = len(data)
        except sqlite3.IntegrityError as error:
            name, code = _VIOLATIONS.get(error.sqlite_errorname, ("BAD_REQUEST", 0))
            raise bridge_error(
                name, str(error), code=code, step=step, label=statement.label
            ) from error
        except sqlite3.Error as error:
            stopped = getattr(error, "sqlite_errorname", None) == "SQLITE_INTERRUPT"
            kind = StatementTimeoutError if stopped else DatabaseDownError
            raise kind(str(error), step=step, label=statement.label) from error
        finally:
            self.connection.set_progress_handler(None, 0)
        if statement.rows is not None and rows != statement.rows:
            raise RowCountError(
                f"step {step} touched {rows} rows instead of {statement.rows}",
                step=step,
                label=statement.label,
            )
        return StepResult(rows=rows, data=data)

    def _limit(self) -> None:
        """Make SQLite stop the next statement if it takes too long."""
        if self._timeout is not None:
            until = time.monotonic() + self._timeout
            self.connection.set_progress_handler(lambda: time.monotonic() > until, PROGRESS)

    def undo(self) -> StepResult:
        """Roll back all writes so far (:class:`~kong_scim.bridge.RollbackDryRun`), but keep the
        counts of entities."""
        self._steps += 1
        try:
            self.connection.execute("ROLLBACK")
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise DatabaseDownError(str(error), step=self._steps - 1) from error
        return StepResult()


class SqliteDatabase:
    """A :class:`~kong_scim.directory.database.Database` on one SQLite file, shared by threads.

    It has one connection and runs one transaction at a time, because SQLite has a single writer.

    :param path: The file, or ``:memory:``. It is created with its tables if it is missing.
    :param durable: Whether a commit survives a crash of the machine, and not only of the process.
    """

    dialect: Dialect = "sqlite"

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        self._lock = RLock()
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=10
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        # With WAL, NORMAL corrupts nothing, but may lose the last commits if the machine crashes.
        self._durable = durable
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._connection.execute("PRAGMA foreign_keys = ON")
        for statement in ddl.statements("sqlite"):
            self._connection.execute(statement)

    def query(
        self,
        statements: Sequence[Sql],
        timeout: float | None = None,
        *,
        consumers: Sequence[str] = (),  # noqa: ARG002 - it has none
    ) -> list[list[dict[str, Any]]]:
        """Return the rows of each statement, all from one snapshot."""
        with self.reading(timeout) as transaction:
            return [transaction.run(statement).data for statement in statements]

    def commit(self, steps: Sequence[Step]) -> list[StepResult]:
        """Apply every statement or none.

        :raises BridgeError: As :meth:`SqliteTransaction.run`; ``BAD_REQUEST`` for a step on an
            entity, which only a gateway can do.
        """
        with self.transaction() as transaction:
            results = []
            for index, step in enumerate(steps):
                if isinstance(step, RollbackDryRun):
                    results.append(transaction.undo())
                elif isinstance(step, Sql):
                    results.append(transaction.run(step))
                else:
                    raise BridgeError(f"no entities here: {step.op}", step=index)
            return results

    @contextmanager
    def transaction(
        self, timeout: float | None = None, *, durable: bool = True
    ) -> Iterator[SqliteTransaction]:
        """Open a writing transaction, which is committed at the end of the block.

        :param timeout: As in :class:`SqliteTransaction`.
        :param durable: Whether it is as durable as the database; otherwise it is like one of a
            database that is not durable.
        """
        relaxed = self._durable and not durable
        with self._lock:
            if relaxed:
                self._connection.execute("PRAGMA synchronous = NORMAL")
            try:
                with self._transaction("BEGIN IMMEDIATE", timeout) as transaction:
                    yield transaction
            finally:
                if relaxed:
                    self._connection.execute("PRAGMA synchronous = FULL")

    def reading(self, timeout: float | None = None) -> AbstractContextManager[SqliteTransaction]:
        """Open a transaction that reads from one snapshot."""
        return self._transaction("BEGIN", timeout)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self, begin: str, timeout: float | None) -> Iterator[SqliteTransaction]:
        with self._lock:
            try:
                self._connection.execute(begin)
            except sqlite3.Error as error:
                raise DatabaseDownError(str(error)) from error
            try:
                yield SqliteTransaction(self._connection, timeout)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
