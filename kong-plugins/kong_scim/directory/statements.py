"""Compiles SQLAlchemy's expressions to the statements of the wire, :class:`~kong_scim.bridge.Sql`.

Statements that every request runs are compiled once per process and dialect (:class:`Statement`),
since compiling takes longer than running them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, literal, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine.interfaces import Dialect as SqlAlchemyDialect
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.util import LRUCache

from kong_scim.bridge import Dialect, Param, Sql

_DIALECTS: dict[str, SqlAlchemyDialect] = {
    "postgresql": PGDialect(paramstyle="numeric_dollar"),  # type: ignore[no-untyped-call]
    "sqlite": SQLiteDialect(paramstyle="numeric_dollar"),
}


def dialect_of(dialect: Dialect) -> SqlAlchemyDialect:
    """Return the dialect that writes ``$1``, ``$2``, ... for parameters, on both databases."""
    return _DIALECTS[dialect]


@dataclass(frozen=True)
class _Compiled:
    """The text of a statement, the names of its parameters in order, and values it has itself."""

    text: str
    names: tuple[str, ...]
    defaults: Mapping[str, Any]


class Statement:
    """A statement that is compiled for a dialect when it is first bound to values there.

    :param expression: The statement, or a function that returns it for a dialect. It names with
        ``bindparam`` what is given each time it runs, and may hold other values itself.
    :param rows: As in :class:`~kong_scim.bridge.Sql`; ``label`` as well.
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
        """Return the statement with its values; those that it does not name are ignored.

        :raises ~scim2_models.InvalidValueException: When a string cannot be stored.
        """
        compiled = self._compiled.get(dialect)
        if compiled is None:
            compiled = self._compiled[dialect] = self._compile(dialect)
        given = {**compiled.defaults, **values}
        params = tuple(given[name] for name in compiled.names)
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
    """Compile a statement, or take the text of one before that differs in its values only.

    SQLAlchemy's own way to do so is private to its engine; its version is pinned, and a test holds
    that a statement which was compiled for other values is bound to its own.

    :raises ~scim2_models.InvalidValueException: When a string cannot be stored.
    """
    key = statement._generate_cache_key()
    compiled = _alike(key and (dialect, key.key), statement, dialect, key)
    params = compiled.construct_params(extracted_parameters=key and key.bindparams)
    values = tuple(params[name] for name in compiled.positiontup)
    refuse_unstorable(values)
    return Sql(compiled.string, values)


_ALIKE: LRUCache[Any, Any] = LRUCache(256)


def _alike(key: Any, statement: ClauseElement, dialect: Dialect, cache_key: Any) -> Any:
    compiled = _ALIKE.get(key) if key else None
    if compiled is None:
        compiled = statement.compile(dialect=_DIALECTS[dialect], cache_key=cache_key)
        if key:
            _ALIKE[key] = compiled
    return compiled


# -- Parts of statements --------------------------------------------------


def parameters(*names: str) -> dict[str, Any]:
    """Return a parameter by each name, such as for the columns of a row."""
    return {name: bindparam(name) for name in names}


def values_of(values: Iterable[Any]) -> list[ColumnElement[Any]]:
    """Return values for an IN; SQLAlchemy takes no bare ones beside parameters without a value."""
    return [literal(value) for value in values]


def insert_into(table: Table) -> postgresql.Insert:
    """Return an INSERT that knows ON CONFLICT.

    It is PostgreSQL's, which SQLAlchemy compiles for SQLite as well: both write it alike.
    """
    return postgresql.insert(table)


def insert_where(
    table: Table, condition: ColumnElement[bool], **values: str | ColumnElement[Any]
) -> postgresql.Insert:
    """Return an INSERT of one row, made only where a condition holds.

    :param values: By column, another parameter than that of the column's own name, or an
        expression.
    """
    columns = [column for column in table.c if column is not table.autoincrement_column]
    given = ((values.get(column.name, column.name), column.type) for column in columns)
    row = [bindparam(each, type_=type_) if isinstance(each, str) else each for each, type_ in given]
    names = [column.name for column in columns]
    return insert_into(table).from_select(names, select(*row).where(condition))


# -- Values ---------------------------------------------------------------


def storable(text: str) -> bool:
    """Tell whether both databases can hold a string: no NUL, and nothing that UTF-8 cannot say."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_unstorable(params: tuple[Param, ...]) -> None:
    """Refuse what would be an error of the database, which ends the bridge's connection.

    :raises ~scim2_models.InvalidValueException: For a NUL or an unpaired surrogate.
    """
    for param in params:
        if isinstance(param, str) and not storable(param):
            # Late: the sandbox uses these tables too, and would take twice as long to start.
            from scim2_models import InvalidValueException  # noqa: PLC0415

            raise InvalidValueException(
                detail="A value holds a NUL character or an unpaired surrogate (such as \\ud800): "
                "remove it"
            )
