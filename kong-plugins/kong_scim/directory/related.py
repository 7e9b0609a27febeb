"""Makes SQL for rows that belong to an outer row, such as the values of a resource."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    any_,
    exists,
    func,
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import FromClause, Join

from kong_scim.bridge import Dialect


class InOrder(Join):
    """A join that SQLite always runs from its left side to its right.

    SQLite has no statistics unless somebody runs ANALYZE, and its versions estimate sizes
    differently: 3.46 reads a whole table instead of looking up the few rows that a recursive query
    found. It never reorders a CROSS JOIN (https://sqlite.org/optoverview.html, section 8.2).
    """

    inherit_cache = True


@compiles(InOrder, "sqlite")
def _in_order(join: InOrder, compiler: SQLCompiler, **options: Any) -> str:
    options["asfrom"] = True
    left, right = (compiler.process(side, **options) for side in (join.left, join.right))
    tie = compiler.process(join.onclause, **options) if join.onclause is not None else "1"
    return f"{left} CROSS JOIN {right} ON {tie}"


class NotByIndex(FunctionElement[str]):
    """A column of text for which no index is used."""

    inherit_cache = True
    type = Text()


@compiles(NotByIndex)
def _in_an_expression(element: NotByIndex, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)} || '')"


@compiles(NotByIndex, "sqlite")
def _behind_a_plus(element: NotByIndex, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


def looked_up(
    dialect: Dialect,
    outer: FromClause,
    columns: Sequence[ColumnElement[Any]],
    *tables: tuple[FromClause, ColumnElement[bool]],
) -> Select[Any]:
    """Select columns of other tables for each row of ``outer``, by their indexes.

    PostgreSQL expects a hundred times as many rows of a recursive query as it has, and would read
    the whole other table; OFFSET 0 prevents that. For SQLite, which has no LATERAL, the order of
    the tables is fixed.

    :param tables: Each table with the condition that joins it to those before it, on columns of an
        index.
    """
    if dialect == "sqlite":
        joined = outer
        for table, tie in tables:
            joined = InOrder(joined, table, tie)
        return select(*columns).select_from(joined)
    selected = select(*columns).where(*(tie for _, tie in tables))
    found = selected.correlate(outer).offset(0).lateral()
    return select(*found.c).select_from(outer).join(found, true())


@dataclass(frozen=True)
class Related:
    """The rows that belong to an outer row.

    :param rows: The table that has them.
    :param where: The condition on them that does not depend on the outer row.
    :param ties: Pairs of a column of theirs and a column of the outer row that must be equal; empty
        if ``rows`` depends on the outer row itself.
    :param common: Whether most outer rows may have a match, as for the type of an e-mail address.
        Then EXISTS is used on SQLite too.
    """

    dialect: Dialect
    rows: FromClause
    where: ColumnElement[bool]
    ties: tuple[tuple[ColumnElement[Any], ColumnElement[Any]], ...] = ()
    common: bool = False

    def some(self, *conditions: ColumnElement[bool], few: bool = False) -> ColumnElement[bool]:
        """Return the condition that one of the rows meets all conditions.

        PostgreSQL can start EXISTS from either table, but is slow with NOT IN. SQLite runs EXISTS
        once for each outer row, and only with IN starts from these rows, by their indexes.

        :param few: Whether PostgreSQL must start from these rows, even if it has no statistics yet,
            as between an import and the next ANALYZE. It must be False below a NOT.
        """
        inner_columns = [column for column, _ in self.ties]
        outer_columns = [column for _, column in self.ties]
        matches = select(*inner_columns).select_from(self.rows).where(self.where, *conditions)
        if self.dialect == "sqlite" and outer_columns and not self.common:
            key: Any = outer_columns[0] if len(outer_columns) == 1 else tuple_(*outer_columns)
            found: ColumnElement[bool] = key.in_(matches)
            return found
        if few and len(outer_columns) == 1:
            ids = func.array(matches.scalar_subquery(), type_=ARRAY(Text))
            return outer_columns[0] == any_(ids)
        tied = (column == outer for column, outer in self.ties)
        one = select(literal(1)).select_from(self.rows)
        return exists(one.where(*tied, self.where, *conditions))
