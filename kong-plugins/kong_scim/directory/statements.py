"""Compiles SQLAlchemy's expressions to :class:`~kong_scim.bridge.Sql`.

Statements that every request runs are compiled once per process and dialect (:class:`Statement`),
because compiling them takes longer than running them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    collate,
    false,
    func,
    literal,
    literal_column,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine.interfaces import Dialect as SqlAlchemyDialect
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.util import LRUCache

from kong_scim import cpu
from kong_scim.bridge import Dialect, Param, Scalar, Sql
from kong_scim.json_text import to_text

_DIALECTS: dict[str, SqlAlchemyDialect] = {
    "postgresql": PGDialect(paramstyle="numeric_dollar"),  # type: ignore[no-untyped-call]
    "sqlite": SQLiteDialect(paramstyle="numeric_dollar"),
}


def dialect_of(dialect: Dialect) -> SqlAlchemyDialect:
    """Return SQLAlchemy's dialect, which writes ``$1``, ``$2``, ... for parameters."""
    return _DIALECTS[dialect]


@dataclass(frozen=True)
class _Compiled:
    """The text of a statement, the names of its parameters in order, and their default values."""

    text: str
    names: tuple[str, ...]
    defaults: Mapping[str, Any]


class Statement:
    """A statement that is compiled for a dialect when it is first bound to values for it.

    :param expression: The statement, or a function that returns it for a dialect. A ``bindparam``
        names each value that :meth:`bind` takes; it may have other values itself.
    :param rows: As in :class:`~kong_scim.bridge.Sql`, and so ``label``.
    """

    def __init__(
        self,
        expression: ClauseElement | Callable[[Dialect], ClauseElement],
        *,
        rows: int | None = None,
        label: str | None = None,
    ) -> None:
        self._expression = expression
        self._rows = rows
        self._label = label
        self._compiled: dict[Dialect, _Compiled] = {}

    def bind(self, dialect: Dialect, values: Mapping[str, Param]) -> Sql:
        """Return the statement with its values; values that it does not name are ignored.

        :raises ~scim2_models.InvalidValueException: When a string cannot be stored.
        """
        compiled = self._compiled.get(dialect)
        if compiled is None:
            compiled = self._compiled[dialect] = self._compile(dialect)
        by_name = {**compiled.defaults, **values}
        params = tuple(by_name[name] for name in compiled.names)
        refuse_unstorable(params)
        return Sql(compiled.text, params, self._rows, self._label)

    def _compile(self, dialect: Dialect) -> _Compiled:
        expression = self._expression
        if not isinstance(expression, ClauseElement):
            expression = expression(dialect)
        compiled: Any = expression.compile(
            dialect=dialect_of(dialect), compile_kwargs={"render_postcompile": True}
        )
        return _Compiled(compiled.string, tuple(compiled.positiontup or ()), compiled.params)


def compile_alike(statement: ClauseElement, dialect: Dialect) -> Sql:
    """Compile a statement, or reuse the text of an earlier one that differs only in its values.

    SQLAlchemy does so only in its engine, by private methods that are used here; its version is
    pinned, and a test checks that a reused text is bound to the values of the new statement.

    :raises ~scim2_models.InvalidValueException: When a string cannot be stored.
    """
    key = statement._generate_cache_key()
    compiled = _compile_or_reuse(key and (dialect, key.key), statement, dialect, key)
    params = compiled.construct_params(extracted_parameters=key and key.bindparams)
    values = tuple(params[name] for name in compiled.positiontup)
    refuse_unstorable(values)
    return Sql(compiled.string, values)


_REUSABLE: LRUCache[Any, Any] = LRUCache(256)


def _compile_or_reuse(key: Any, statement: ClauseElement, dialect: Dialect, cache_key: Any) -> Any:
    compiled = _REUSABLE.get(key) if key else None
    if compiled is None:
        compiled = statement.compile(dialect=_DIALECTS[dialect], cache_key=cache_key)
        if key:
            _REUSABLE[key] = compiled
    return compiled


# -- Parts of statements --------------------------------------------------


def parameters(*names: str) -> dict[str, Any]:
    """Return a parameter for each name, such as for the columns of a row."""
    return {name: bindparam(name) for name in names}


def is_one_of(column: ColumnElement[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """Return the condition that a column has one of some values; it never holds for no values.

    SQLAlchemy's ``in_`` takes neither bare values nor none beside parameters without a value.
    """
    return column.in_([literal(value) for value in values]) if values else false()


def insert_into(table: Table) -> postgresql.Insert:
    """Return an INSERT that can have ON CONFLICT.

    It is PostgreSQL's INSERT. SQLAlchemy compiles it for SQLite too, which has the same syntax.
    """
    return postgresql.insert(table)


def insert_where(
    table: Table, condition: ColumnElement[bool], **values: str | ColumnElement[Any]
) -> postgresql.Insert:
    """Return an INSERT of one row that is written only if a condition holds.

    :param values: By column, the name of a parameter, or an expression. The default is a parameter
        with the column's name.
    """
    columns = [column for column in table.c if column is not table.autoincrement_column]
    sources = ((values.get(column.name, column.name), column.type) for column in columns)
    row = [
        bindparam(each, type_=type_) if isinstance(each, str) else each for each, type_ in sources
    ]
    names = [column.name for column in columns]
    return insert_into(table).from_select(names, select(*row).where(condition))


def rows_of_json(dialect: Dialect, *columns: ColumnElement[Any] | type[Any]) -> Select[Any]:
    """Return a SELECT of the rows in the parameter ``rows``, a text that :func:`json_rows` makes.

    So one statement writes any number of rows, and its text is always the same.

    :param columns: The types of the columns of ``rows``, in their order, which are named ``c0``,
        ``c1`` and so on. Among them may be expressions, which have the same value in each row.
    """
    selected: list[ColumnElement[Any]] = []
    index = 0
    if dialect == "postgresql":
        row = func.json_array_elements(cast(bindparam("rows"), JSON)).table_valued("value")
    else:
        row = func.json_each(bindparam("rows")).table_valued("value")
    for column in columns:
        if isinstance(column, ColumnElement):
            selected.append(column)
            continue
        value: ColumnElement[Any]
        if dialect == "postgresql":
            value = row.c.value.op("->>")(literal_column(str(index)))
        else:
            value = func.json_extract(row.c.value, literal_column(f"'$[{index}]'"))
        if column is not Text:
            value = cast(value, column)
        elif dialect == "postgresql":  # as the columns of our tables
            value = collate(type_coerce(value, Text), "C")
        selected.append(value.label(f"c{index}"))
        index += 1
    # SQLite would take ON CONFLICT after a bare FROM for the condition of a join.
    return select(*selected).select_from(row).where(true())


def is_one_of_rows(dialect: Dialect, column: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that a column has one of the texts in the first column of ``rows``.

    PostgreSQL expects a hundred rows of any JSON, and would read the table; it looks up an array.
    """
    texts = rows_of_json(dialect, Text)
    if dialect == "sqlite":
        return column.in_(texts)
    return column == any_(func.array(texts.scalar_subquery(), type_=ARRAY(Text)))


def json_rows(rows: Sequence[Sequence[Scalar]]) -> str:
    """Return rows as the JSON text that :func:`rows_of_json` reads.

    :raises ~scim2_models.InvalidValueException: When a string cannot be stored.
    """
    for row in rows:
        cpu.give_way()
        refuse_unstorable(row)
    return to_text(rows)


# -- Values ---------------------------------------------------------------


def storable(text: str) -> bool:
    """Tell whether both databases can store a string: it has no NUL and no unpaired surrogate."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_unstorable(params: Sequence[Param]) -> None:
    """Refuse values that the database refuses, because its error ends the bridge's connection.

    :raises ~scim2_models.InvalidValueException: For a NUL or an unpaired surrogate.
    """
    for param in params:
        if isinstance(param, str) and not storable(param):
            # A top-level import would double the time that the sandbox takes to start.
            from scim2_models import InvalidValueException  # noqa: PLC0415

            raise InvalidValueException(
                detail="A value holds a NUL character or an unpaired surrogate (such as \\ud800): "
                "remove it"
            )
