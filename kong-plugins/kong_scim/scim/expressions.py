"""Filters and paths as real providers write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scim2_models import (
    InvalidFilterException,
    InvalidPathException,
    Path,
    Resource,
    ScimFilter,
)
from scim2_models.path import (
    AttrPath,
    Comparison,
    FilterNode,
    FilterVisitor,
    LogicalExpr,
    Not,
    Present,
    ValuePath,
)

from kong_scim.scim.limits import CONTROL, check_filter

_BOOLEANS = {"true": True, "false": False}
_NEEDS_CARE = re.compile(r'"(?:true|false)"|\\u', re.IGNORECASE)

Models = Sequence[type[Resource[Any]]]


def lenient_filter(models: Models, text: str) -> str:
    """Return a filter in which booleans are compared with booleans.

    Entra writes ``primary eq "True"`` (interop 2).

    :raises InvalidFilterException: When it is too large, malformed, or holds a character that no
        attribute can have.
    """
    check_filter(text)
    if not _NEEDS_CARE.search(text):
        return text
    return str(_Careful(models).visit(ScimFilter(text).ast))


def lenient_path(model: type[Resource[Any]], text: str) -> str:
    """Return a PATCH path in whose filter booleans are compared with booleans.

    :raises InvalidPathException: When it is malformed, or holds a character that no attribute can
        have.
    """
    if not _NEEDS_CARE.search(text):
        return text
    node = Path(text).ast
    if not isinstance(node, FilterNode):
        return text
    try:
        return str(_Careful([model]).visit(node))
    except InvalidFilterException as error:
        raise InvalidPathException(path=text, detail=str(error)) from None


class _Careful(FilterVisitor[FilterNode]):
    """Rewrites comparisons; inside brackets, names are sub-attributes of ``head``."""

    def __init__(self, models: Models, head: AttrPath | None = None) -> None:
        self.models = models
        self.head = head

    def visit_comparison(self, node: Comparison) -> FilterNode:
        if not isinstance(node.value, str):
            return node
        found = CONTROL.search(node.value)
        if found:
            raise InvalidFilterException(
                detail=f"The filter compares with the character U+{ord(found.group()):04X}, "
                "which no attribute can hold"
            )
        boolean = _BOOLEANS.get(node.value.lower())
        if boolean is not None and self._is_boolean(node.attr_path):
            return replace(node, value=boolean)
        return node

    def visit_present(self, node: Present) -> FilterNode:
        return node

    def visit_not(self, node: Not) -> FilterNode:
        return Not(self.visit(node.expr))

    def visit_logical_expr(self, node: LogicalExpr) -> FilterNode:
        return LogicalExpr(node.op, tuple(self.visit(term) for term in node.terms))

    def visit_value_path(self, node: ValuePath) -> FilterNode:
        inner = _Careful(self.models, node.attr_path)
        return replace(node, val_filter=inner.visit(node.val_filter))

    def _is_boolean(self, path: AttrPath) -> bool:
        if self.head is not None:
            path = AttrPath(self.head.attr, path.attr, self.head.uri)
        bindings = (Path(str(path)).resolve(model) for model in self.models)
        return any(binding is not None and binding.target_type is bool for binding in bindings)
