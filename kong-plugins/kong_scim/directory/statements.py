"""Compiles SQLAlchemy's expressions to the statements of the wire, :class:`~kong_scim.bridge.Sql`.

Statements that every request runs are compiled once per process (:func:`prepare`), since compiling
takes longer than running them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
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


class Prepared:
    """A compiled statement, whose parameters are given each time it is run.

    Parameters that the expression holds itself are kept; :meth:`bind` fills those it names.
    """

    def __init__(
        self, statement: ClauseElement, dialect: Dialect, rows: int | None, label: str | None
    ) -> None:
        compiled = statement.compile(
            dialect=_DIALECTS[dialect], compile_kwargs={"render_postcompile": True}
        )
        self._text = compiled.string
        self._names: list[str] = list(compiled.positiontup or [])  # type: ignore[attr-defined]
        self._defaults: dict[str, Any] = dict(compiled.params)
        self._rows = rows
        self._label = label

    def bind(self, values: Mapping[str, Param] | None = None) -> Sql:
        """Return the statement with its values.

        :raises ~scim2_models.InvalidValueException: When a string cannot be stored.
        """
        given = {**self._defaults, **values} if values else self._defaults
        params = tuple(given[name] for name in self._names)
        refuse_unstorable(params)
        return Sql(self._text, params, self._rows, self._label)


def prepare(
    statement: ClauseElement, dialect: Dialect, *, rows: int | None = None, label: str | None = None
) -> Prepared:
    """Compile a statement to be run many times; see :class:`~kong_scim.bridge.Sql` for the rest."""
    return Prepared(statement, dialect, rows, label)


def compile(
    statement: ClauseElement, dialect: Dialect, *, rows: int | None = None, label: str | None = None
) -> Sql:
    """Compile a statement that is run once.

    :raises ~scim2_models.InvalidValueException: When a string cannot be stored.
    """
    return Prepared(statement, dialect, rows, label).bind()


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


def insert_into(dialect: Dialect, table: Table) -> Any:
    """Return an INSERT that knows ON CONFLICT, which SQLAlchemy has for each dialect apart."""
    return (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)


def storable(text: str) -> bool:
    """Tell whether both databases can hold a string: no NUL, and nothing that UTF-8 cannot say."""
    if "\0" in text:
        return False
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
        if (
            isinstance(param, str)
            and not (param.isascii() and "\0" not in param)
            and not storable(param)
        ):
            # Late: the sandbox uses these tables too, and would take twice as long to start.
            from scim2_models import InvalidValueException  # noqa: PLC0415

            raise InvalidValueException(
                detail="A value holds a NUL character or an unpaired surrogate (such as \\ud800): "
                "remove it"
            )
