"""Compiles searches for equality once for each shape: for all that differ only in the values they
compare with, and in the page.

A search is compiled with a mark in place of each value. Where a mark comes back among the
parameters of the compiled statement, the value of a search goes in its form for comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scim2_models import SearchRequest
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr

from kong_scim.bridge import Dialect, Param, Sql
from kong_scim.directory import costs
from kong_scim.directory.database import Scope
from kong_scim.directory.documents import shows_memberships
from kong_scim.directory.kinds import Kind
from kong_scim.directory.search import Search
from kong_scim.directory.statements import refuse_unstorable
from kong_scim.directory.tables import HEAD
from kong_scim.directory.values import folded, normalized

COUNT, START = 1_987_654_321, 1_123_456_789
"""The marks of the page's size, and of the index of its first resource (from 1)."""

MOST_TERMS = 16
"""Comparisons of a search that is compiled for its shape."""


def mark(index: int) -> str:
    """Return the mark of a value: longer than an indexed head, in both cases, and no base64."""
    return f"Mark~{index}~" + "x" * HEAD


@dataclass(frozen=True, eq=False)
class Shape:
    """What searches have in common that differ only in their values and in their page.

    :param request: The search with a :func:`mark` for each value, :data:`COUNT` and :data:`START`.
    """

    kind: Kind
    request: SearchRequest[Any]


def has_shape(kind: Kind, request: SearchRequest[Any]) -> bool:
    """Tell whether a search only compares texts for equality, each by an index."""
    if request.filter is None or costs.weight(kind, request.filter) > 0:
        return False
    terms = list(_terms(request.filter.ast))
    return len(terms) <= MOST_TERMS and all(
        isinstance(term, Comparison)
        and term.op == CompareOperator.eq
        and isinstance(term.value, str)
        for term in terms
    )


def _terms(node: FilterNode) -> list[FilterNode]:
    if isinstance(node, LogicalExpr):
        return [term for each in node.terms for term in _terms(each)]
    return [node]


_Value = Callable[[Sequence[str], int, int], Param]
"""Returns a parameter for the values of a search, its start and its count."""


@dataclass(frozen=True)
class _Template:
    text: str
    params: tuple[Param | _Value, ...]

    def bind(self, values: Sequence[str], start: int, count: int) -> Sql:
        params = tuple(
            param(values, start, count) if callable(param) else param for param in self.params
        )
        refuse_unstorable(params)
        return Sql(self.text, params)


@dataclass(frozen=True)
class Compiled:
    """The statements of all searches of a shape.

    :param memberships: By the name of the resource type, if the answer shows memberships.
    """

    total: _Template
    page: _Template
    memberships: Mapping[str, _Template]


@lru_cache(maxsize=256)
def compiled(dialect: Dialect, scope: Scope, shape: Shape) -> Compiled:
    """Return the statements of a shape.

    :raises ~scim2_models.InvalidFilterException: When an attribute cannot have a mark as its value.
    """
    search = Search(dialect, scope, [shape.kind], shape.request)
    shown = [shape.kind] if shows_memberships(shape.kind, shape.request) else []
    return Compiled(
        _template(search.total()),
        _template(search.page(None)),
        {kind.name: _template(search.memberships(kind, None)) for kind in shown},
    )


def _template(statement: Sql) -> _Template:
    return _Template(statement.sql, tuple(map(_place, statement.params)))


def _place(param: Param) -> Param | _Value:
    """Return what goes in the place of a parameter: itself, unless it is a mark."""
    if param == COUNT:
        return lambda _values, _start, count: count
    if param == START - 1:
        return lambda _values, start, _count: start - 1
    for index in range(MOST_TERMS):
        for form in (normalized, folded):
            whole = form(mark(index))
            if param == whole:
                return lambda values, *_, index=index, form=form: form(values[index])
            if param == whole[:HEAD]:
                return lambda values, *_, index=index, form=form: form(values[index])[:HEAD]
    return param
