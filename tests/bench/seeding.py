"""Fills PostgreSQL with people, without the hours that as many requests would take.

One person is created by a request. All rows about that person are then copied by SQL, once for each
number, with another id and another name. So nothing here knows what the tables mean.
"""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg

from bench.workloads import Server, user
from postgres import Postgres

_NAME = "seed-0-x"
_DIGEST = 64
"""The characters of a SHA-256 in hexadecimal."""

_TABLES = {
    "consumers": "id",
    "scim_resources": "id",
    "scim_values": "resource_id",
    "scim_unique": "resource_id",
    "scim_consumer_names": "resource_id",
}
"""The tables with rows about a person, and the column with the person's id."""

_COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
 WHERE table_name = %s AND table_schema = 'public' ORDER BY ordinal_position
"""


def name_of(number: int) -> str:
    """Return the name of a person that :func:`seed` makes."""
    return f"seed-{number}-x"


class Seeds:
    """Makes people by copying one.

    :ivar count: The people that were made so far, by number from 1.
    """

    def __init__(self, server: Server, postgres: Postgres) -> None:
        self.count = 0
        self._postgres = postgres
        self._id = server.create(_NAME)
        # Of these texts, tables have the SHA-256.
        with postgres.connect() as connection:
            self._rows = {table: self._read(connection, table) for table in _TABLES}
        texts = [str(value) for value in user(_NAME).values() if isinstance(value, str)]
        texts += [f"a {text}" for text in texts]
        self._texts = {hashlib.sha256(text.encode()).hexdigest(): text for text in texts}

    def make(self, count: int) -> None:
        """Make people until there are so many."""
        if count <= self.count:
            return
        with self._postgres.connect() as connection:
            connection.execute("SET synchronous_commit = off")
            for table in _TABLES:
                self._copy(connection, table, count)
            connection.execute("VACUUM ANALYZE")
        self.count = count

    def join(self, group: str, count: int) -> None:
        """Make the first of them members of a group, without a step in Kong."""
        with self._postgres.connect() as connection:
            connection.execute(
                "INSERT INTO scim_members (group_id, member_id, member_type) "
                "SELECT %s, id, 'User' FROM scim_resources "
                "WHERE type = 'User' AND doc LIKE '%%\"seed-%%' ORDER BY created, id LIMIT %s",
                [group, count],
            )
            connection.execute("VACUUM ANALYZE scim_members")

    def id_of(self, number: int) -> str:
        """Return the id of a person."""
        return f"{number:08x}{self._id[8:]}"

    def _read(self, connection: psycopg.Connection[Any], table: str) -> tuple[list[Any], list[Any]]:
        """Return the columns of a table, and its rows about the person."""
        columns = connection.execute(_COLUMNS, [table]).fetchall()
        about = f"SELECT * FROM {table} WHERE {_TABLES[table]} = %s"
        rows = connection.execute(about, [self._id])
        return columns, rows.fetchall()

    def _copy(self, connection: psycopg.Connection[Any], table: str, count: int) -> None:
        columns, rows = self._rows[table]
        names = ", ".join(f'"{name}"' for name, _ in columns)
        for values in rows:
            cells = ", ".join(
                self._cell(value, kind) for value, (_, kind) in zip(values, columns, strict=True)
            )
            connection.execute(
                f"INSERT INTO {table} ({names}) SELECT {cells} "
                f"FROM generate_series({self.count + 1}, {count}) AS n"
            )

    def _cell(self, value: Any, kind: str) -> str:
        """Return the SQL of a value of the copy with the number n."""
        if value is None or isinstance(value, (int, float, bool)):
            return "NULL" if value is None else str(value)
        if isinstance(value, list):
            return f"ARRAY[{', '.join(self._cell(each, 'text') for each in value)}]"
        text = str(value)
        if len(text) == _DIGEST and text.isalnum():
            plain = self._texts.get(text, text)
            digested = f"{_literal(plain)} || n" if plain == text else self._renamed(plain)
            return f"encode(sha256(convert_to({digested}, 'UTF8')), 'hex')"
        renamed = self._renamed(text)
        return f"({renamed})::uuid" if kind == "uuid" else f"({renamed})::{kind}"

    def _renamed(self, text: str) -> str:
        sql = _literal(text)
        if _NAME in text:
            sql = f"replace({sql}, '{_NAME}', 'seed-' || n || '-x')"
        if self._id in text:
            new = f"lpad(to_hex(n), 8, '0') || '{self._id[8:]}'"
            sql = f"replace({sql}, '{self._id}', {new})"
        return sql


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
