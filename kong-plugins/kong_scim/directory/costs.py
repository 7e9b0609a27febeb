"""Estimates what a search costs from its filter, before the filter is turned into SQL.

A comparison that uses an index counts as free. Any other reads a value of each resource, and one of
``groups`` or ``members`` each membership, including those of nested groups.
"""

from __future__ import annotations

from typing import Any

from scim2_models import ScimFilter, TooManyException
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterVisitor,
    LogicalExpr,
    Not,
    Present,
    ValuePath,
)

from kong_scim.directory.kinds import Kind

FREE = 10
"""The weight up to which a filter is accepted for any number of resources: a statement has a time
limit."""

MOST = 40
"""The weight above which a filter is always refused: PostgreSQL plans a statement of a hundred such
conditions for minutes."""

MOST_ROWS = 100_000
"""The most that the weight of a filter times the number of resources may be."""

OF_MEMBERSHIPS = 5
"""The weight of a condition on memberships, which was measured to take four to ten times as long as
another."""


def weight(kind: Kind, scim_filter: ScimFilter[Any] | None) -> int:
    """Return how many conditions of a filter are checked for each resource."""
    return 0 if scim_filter is None else _Weight(kind).visit(scim_filter.ast)


def refuse(weight: int, rows: int | None = None) -> None:
    """Refuse a search that costs too much.

    :param rows: How many resources it searches; None if that is not known yet.
    :raises ~scim2_models.TooManyException: 400 with scimType ``tooMany``.
    """
    if weight > MOST:
        limit = f"the limit is {MOST}"
    elif rows is not None and weight > FREE and weight * rows > MOST_ROWS:
        limit = f"for {rows} resources the limit is {max(FREE, MOST_ROWS // rows)}"
    else:
        return
    raise TooManyException(
        detail=f"The filter has {weight} conditions that no index answers (one on groups or "
        f"members counts {OF_MEMBERSHIPS} times), {limit}: use fewer of co, sw, ew, not and the "
        "like, or send several requests"
    )


class _Weight(FilterVisitor[int]):
    def __init__(self, kind: Kind, head: AttrPath | None = None) -> None:
        self._kind = kind
        self._head = head
        self._negated = False

    def visit_not(self, node: Not) -> int:
        negated, self._negated = self._negated, True
        inner = self.visit(node.expr)
        self._negated = negated
        return inner

    def visit_logical_expr(self, node: LogicalExpr) -> int:
        return sum(self.visit(term) for term in node.terms)

    def visit_comparison(self, node: Comparison) -> int:
        indexed = node.op == CompareOperator.eq and node.value is not None and not self._negated
        sub_attribute = (node.attr_path.attr if self._head else node.attr_path.sub_attr) or "value"
        if indexed and (not self._is_computed(node.attr_path) or sub_attribute.lower() == "value"):
            return 0
        return self._each(node.attr_path)

    def visit_present(self, node: Present) -> int:
        return self._each(node.attr_path)

    def visit_value_path(self, node: ValuePath) -> int:
        visitor = _Weight(self._kind, node.attr_path)
        visitor._negated = self._negated
        return visitor.visit(node.val_filter)

    def _each(self, path: AttrPath) -> int:
        return OF_MEMBERSHIPS if self._is_computed(path) else 1

    def _is_computed(self, path: AttrPath) -> bool:
        return (self._head or path).attr.lower() == self._kind.computed
