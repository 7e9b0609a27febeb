"""The columns that the tables of the plugin have in common, for PostgreSQL and SQLite alike.

Dates are text in the fixed-width form of :func:`~kong_scim.directory.values.instant`, documents are
JSON text, and no column is boolean. So a row has the same values from both databases, also through
Lua and JSON. Text sorts and compares in code point order, as in Python.

The ``info`` of a table has the migration of scim-bridge that creates it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

TEXT = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData()


def text(name: str) -> Column[str]:
    return Column(name, TEXT, nullable=False)


def key(name: str) -> Column[str]:
    return Column(name, TEXT, primary_key=True)


def scope() -> list[Column[str]]:
    """Return the columns for the owner of a row, its workspace and tenant."""
    return [text("workspace"), text("tenant")]


def scope_key() -> list[Column[str]]:
    return [key("workspace"), key("tenant")]


def owner(name: str, *, key: bool = False) -> Column[str]:
    """Return the column of the resource with which the row is deleted."""
    resource = ForeignKey("scim_resources.id", ondelete="CASCADE")
    return Column(name, TEXT, resource, primary_key=key, nullable=False)


def serial(name: str) -> Column[int]:
    return Column(name, BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def index(
    name: str, table: Table, columns: list[str], where: ColumnElement[bool], **info: str
) -> None:
    """Add a partial index of the rows that meet a condition.

    :param info: The migration that creates it, if it is a later one than that of its table.
    """
    its = (table.c[each] for each in columns)
    Index(name, *its, postgresql_where=where, sqlite_where=where, info=info or table.info)
