"""Turns a SCIM filter into a SQL condition on a row of ``scim_resources`` (RFC 7644 §3.4.2.2).

The result is that of :meth:`scim2_models.ScimFilter.match`, with which the tests compare it: a
missing value equals only null, and a multi-valued attribute matches if any value does, except for
``ne``, for which no value may equal the operand.
"""

from __future__ import annotations

from datetime import datetime
from inspect import isclass
from typing import Any, Literal

from pydantic import BaseModel
from scim2_models import AttributeBinding
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Path,
    Present,
    ScimFilter,
    ValuePath,
    coerce_value,
)
from scim2_server.utils import parametrize
from sqlalchemy import ColumnElement, and_, false, not_, or_, true

from kong_scim import cpu
from kong_scim.bridge import Dialect
from kong_scim.directory.comparisons import (
    Comparand,
    Operand,
    column,
    compare,
    of_entry,
    of_resource,
    present,
    stored,
)
from kong_scim.directory.kinds import Kind
from kong_scim.directory.memberships import Entries, entries_of
from kong_scim.directory.tables import values
from kong_scim.directory.values import comparable, key_of

Op = CompareOperator

_SUBSTRING = (Op.co, Op.sw, Op.ew)


def condition(dialect: Dialect, kind: Kind, scim_filter: ScimFilter[Any]) -> ColumnElement[bool]:
    """Return the condition that a resource of this kind matches a filter.

    An attribute that the kind does not declare has no value (RFC 7644 §3.4.2.1).

    :raises ~scim2_models.InvalidFilterException: For an operand that its attribute cannot have.
    """
    return _OnResource(dialect, kind).visit(scim_filter.ast)


class _Conditions(FilterVisitor[ColumnElement[bool]]):
    """The base of the visitors that turn a filter on a resource or on an entry into SQL."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._negated = False

    def visit_not(self, node: Not) -> ColumnElement[bool]:
        negated, self._negated = self._negated, True
        inner = not_(self.visit(node.expr))
        self._negated = negated
        return inner

    def visit_logical_expr(self, node: LogicalExpr) -> ColumnElement[bool]:
        terms = [self.visit(term) for term in node.terms]
        return and_(*terms) if node.op == LogicalOperator.and_ else or_(*terms)

    def visit_comparison(self, node: Comparison) -> ColumnElement[bool]:
        cpu.check()
        binding = self.binding(node.attr_path, comparison=True)
        if binding is None:
            return false()
        expected = self.operand(binding, node)
        if expected is False:  # the attribute cannot have a value of this type
            return true() if node.op is Op.ne else false()
        return compare(self.comparand(binding), node.op, expected, negated=self._negated)

    def visit_present(self, node: Present) -> ColumnElement[bool]:
        binding = self.binding(node.attr_path, comparison=False)
        return false() if binding is None else present(self.comparand(binding))

    def visit_value_path(self, node: ValuePath) -> ColumnElement[bool]:  # noqa: ARG002
        return false()  # brackets within brackets select nothing (erratum 7322)

    def binding(self, path: AttrPath, *, comparison: bool) -> AttributeBinding | None:
        """Return the attribute of a path, or None if there is none."""
        raise NotImplementedError

    def comparand(self, binding: AttributeBinding) -> Comparand:
        """Return the SQL expressions for the attribute's values."""
        raise NotImplementedError

    def operand(
        self, binding: AttributeBinding, node: Comparison
    ) -> Operand | Literal[False] | None:
        """Return the operand; None for null, False if no value can be compared with it.

        :raises ~scim2_models.InvalidFilterException: When the attribute cannot have that value.
        """
        value = coerce_value(binding, node.value, node.op)
        if value is None:
            return None
        target = binding.target_type
        if isclass(target) and issubclass(target, BaseModel):
            return False
        if node.op in _SUBSTRING and (
            not isinstance(value, str)
            or (isclass(target) and issubclass(target, bool | int | float | datetime))
        ):
            return False
        return comparable(binding, value)


class _OnResource(_Conditions):
    """Turns a filter on a resource into SQL."""

    def __init__(self, dialect: Dialect, kind: Kind) -> None:
        super().__init__(dialect)
        self._kind = kind
        self._bound = parametrize(ScimFilter, kind.model)("id pr")

    def binding(self, path: AttrPath, *, comparison: bool) -> AttributeBinding | None:
        resolve = self._bound.resolve_comparison if comparison else self._bound.resolve
        return resolve(path, strict=False)

    def comparand(self, binding: AttributeBinding) -> Comparand:
        if binding.field_name == self._kind.computed:
            return entries_of(self._dialect, self._kind).all(binding.sub_field_name)
        return column(binding) or stored(self._dialect, binding)

    def visit_value_path(self, node: ValuePath) -> ColumnElement[bool]:
        binding = self.binding(node.attr_path, comparison=False)
        if binding is None or not binding.is_multivalued:
            return false()
        dialect = self._dialect
        if binding.field_name == self._kind.computed:
            entries = entries_of(dialect, self._kind)
            on_membership = _OnMembership(dialect, binding, entries)
            return entries.rows.some(on_membership.visit(node.val_filter))
        entry = values.alias()
        is_complex = isclass(binding.field_type) and issubclass(binding.field_type, BaseModel)
        visitor = (_OnEntry if is_complex else _OnScalar)(dialect, binding, entry)
        stored_entries = of_resource(dialect, entry, key_of(binding))
        return stored_entries.some(visitor.visit(node.val_filter))


class _OnSubAttributes(_Conditions):
    """The base for a filter on one entry of a multi-valued complex attribute."""

    def __init__(self, dialect: Dialect, parent: AttributeBinding) -> None:
        super().__init__(dialect)
        self._parent = parent

    def binding(self, path: AttrPath, *, comparison: bool) -> AttributeBinding | None:  # noqa: ARG002
        if path.uri or path.sub_attr:
            return None
        return Path(path.attr).resolve(self._parent.field_type)


class _OnEntry(_OnSubAttributes):
    """Turns a filter on an entry that is stored in ``scim_values`` into SQL."""

    def __init__(self, dialect: Dialect, parent: AttributeBinding, entry: Any) -> None:
        super().__init__(dialect, parent)
        self._entry = entry

    def comparand(self, binding: AttributeBinding) -> Comparand:
        rows, key = values.alias(), f"{key_of(self._parent)}.{binding.urn.lower()}"
        sub_values = of_entry(self._dialect, rows, key, self._entry)
        return Comparand(rows.c.val, rows.c.head, rows.c.num, rows=sub_values)


class _OnMembership(_OnSubAttributes):
    """Turns a filter on an entry of ``members`` or ``groups`` into SQL."""

    def __init__(self, dialect: Dialect, parent: AttributeBinding, entries: Entries) -> None:
        super().__init__(dialect, parent)
        self._entries = entries

    def comparand(self, binding: AttributeBinding) -> Comparand:
        return self._entries.field(binding.field_name)


class _OnScalar(_Conditions):
    """Turns a filter on a list of plain values, where ``value`` is the value itself, into SQL."""

    def __init__(self, dialect: Dialect, parent: AttributeBinding, entry: Any) -> None:
        super().__init__(dialect)
        self._parent = parent
        self._entry = entry

    def binding(self, path: AttrPath, *, comparison: bool) -> AttributeBinding | None:  # noqa: ARG002
        return self._parent if path.attr.lower() == "value" and not path.sub_attr else None

    def comparand(self, binding: AttributeBinding) -> Comparand:  # noqa: ARG002
        return Comparand(self._entry.c.val, self._entry.c.head, self._entry.c.num)

    def operand(
        self,
        binding: AttributeBinding,
        node: Comparison,
    ) -> Operand | None:
        # ScimFilter.match compares an operand of any type, too.
        return None if node.value is None else comparable(binding, node.value)
