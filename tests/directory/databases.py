"""The databases of the directory's tests: SQLite as it is, and PostgreSQL as the bridge runs it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from kong_scim.bridge import Dialect, EntityCounts, Sql, Step, StepResult, bridge_error
from kong_scim.directory import ddl

_CONFLICTS = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)


class PostgresDatabase:
    """Runs statements as scim-bridge does: values put into the text as literals, in one pass.

    :param dsn: Of a database for it alone. Every thread may use it: no two share a connection.
    """

    dialect: Dialect = "postgresql"

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: deque[psycopg.Connection[dict[str, Any]]] = deque()
        with self._connection() as connection:
            for statement in ddl.statements("postgresql"):
                connection.execute(statement)

    def query(
        self, statements: Sequence[Sql], *, consumers: Sequence[str] = ()
    ) -> list[list[dict[str, Any]]]:
        del consumers
        with self._connection() as connection:
            return [_run(connection, statement).data for statement in statements]

    def commit(self, steps: Sequence[Step]) -> list[StepResult]:
        with self._connection() as connection:
            results = []
            for index, step in enumerate(steps):
                assert isinstance(step, Sql)
                try:
                    result = _run(connection, step)
                except _CONFLICTS as error:
                    raise bridge_error("CONFLICT", str(error), step=index) from error
                except psycopg.errors.UniqueViolation as error:
                    raise bridge_error(
                        "unique constraint violation", str(error), code=5, step=index
                    ) from error
                if step.rows is not None and step.rows != result.rows:
                    raise bridge_error(
                        "ROW_COUNT", f"{result.rows} rows", step=index, label=step.label
                    )
                results.append(result)
            return results

    def explain(self, statement: Sql) -> str:
        """Return PostgreSQL's plan of a statement."""
        with self._connection() as connection:
            text = b"EXPLAIN " + _bound(connection, statement)
            return "\n".join(row["QUERY PLAN"] for row in connection.execute(text))

    def explain_run(self, statement: Sql) -> dict[str, Any]:
        """Run a statement and return its plan with what really happened, as PostgreSQL's JSON."""
        with self._connection() as connection:
            text = b"EXPLAIN (ANALYZE, FORMAT JSON) " + _bound(connection, statement)
            (row,) = connection.execute(text).fetchall()
            found: dict[str, Any] = row["QUERY PLAN"][0]
            return found

    def run(self, text: str) -> None:
        """Run a statement of the test's own."""
        with self._connection() as connection:
            connection.execute(text)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """Open a transaction on a connection that nobody uses."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = psycopg.connect(self._dsn, row_factory=dict_row, autocommit=True)
        with connection.transaction():
            yield connection
        self._idle.append(connection)


def _bound(connection: psycopg.Connection[Any], statement: Sql) -> bytes:
    def literal(match: re.Match[str]) -> str:
        value = statement.params[int(match[1]) - 1]
        # no entities here, so nothing is ever written of them
        value = "{}" if isinstance(value, EntityCounts) else value
        text = sql.Literal(value).as_string(connection)
        return f"({text})" if isinstance(value, int | float) else text.replace("\0", "")

    return re.sub(r"\$(\d+)", literal, statement.sql).encode()


def _run(connection: psycopg.Connection[dict[str, Any]], statement: Sql) -> StepResult:
    cursor = connection.execute(_bound(connection, statement))
    data = cursor.fetchall() if cursor.description else []
    return StepResult(rows=cursor.rowcount, data=data)
