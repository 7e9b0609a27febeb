"""Rewrites filters and paths of real providers into the form of RFC 7644."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from inspect import isclass
from typing import Any, TypeVar

from scim2_models import (
    AttributeBinding,
    BaseModel,
    InvalidFilterException,
    InvalidPathException,
    Mutability,
    Path,
    Resource,
    SCIMException,
    ScimFilter,
)
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    FilterVisitor,
    LogicalExpr,
    Not,
    Present,
    ValuePath,
    coerce_value,
)

from kong_scim.protocol import references
from kong_scim.protocol.limits import CONTROL, check_filter, shown

_BOOLEANS = {"true": True, "false": False}
_PARTS = frozenset({CompareOperator.co, CompareOperator.sw, CompareOperator.ew})
_SAMENESS = frozenset({CompareOperator.eq, CompareOperator.ne})
_WANTED: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (bytes, "a string in base64"),
    (datetime, 'a date with a time, such as "2024-05-13T04:42:34Z"'),
    (int, "a whole number"),
    (float, "a number"),
)

Models = Sequence[type[Resource[Any]]]
NodeT = TypeVar("NodeT", Comparison, Present, ValuePath)


def lenient_filter(models: Models, text: str) -> str:
    """Return a filter in terms of what is stored, with operands of the types of their attributes.

    Booleans are compared with booleans (Entra writes ``primary eq "True"``:
    docs/providers/traffic.md#booleans-as-strings), a complex attribute means its ``value``, and a
    reference is compared as it is shown (:mod:`kong_scim.protocol.references`).

    :raises InvalidFilterException: When it is empty, too large or malformed, or compares with what
        an attribute cannot have.
    """
    check_filter(text)
    if not text.strip():
        raise InvalidFilterException(
            detail='The filter is empty: send one such as userName eq "bjensen", or leave filter '
            "out for all resources"
        )
    node = _parsed(text)
    careful = _Careful(models).visit(node)
    return text if careful is node else str(careful)


def lenient_path(model: type[Resource[Any]], text: str) -> str:
    """Return a PATCH path whose filter is as :func:`lenient_filter` makes it.

    :raises InvalidPathException: When it is malformed, or compares with what an attribute cannot
        have.
    """
    if not {"[", " "} & set(text):
        return text
    try:
        node = Path(text).ast
    except InvalidPathException as error:
        raise InvalidPathException(
            path=text,
            detail=f"The path {shown(text)} cannot be read{_column(error)}: write an attribute, "
            'such as name.familyName or emails[type eq "work"].value',
        ) from None
    if isinstance(node, Comparison | Present):  # erratum 7122: emails.type eq "work"
        path, inner = node.attr_path, AttrPath(node.attr_path.sub_attr or "value")
        node = ValuePath(AttrPath(path.attr, None, path.uri), replace(node, attr_path=inner))
    if not isinstance(node, ValuePath) or Path(str(node.attr_path)).resolve(model) is None:
        return text  # without a filter, or refused for what it names
    try:
        return str(_Careful([model]).visit(node))
    except UnholdableException as error:
        raise InvalidPathException(path=text, detail=error.detail) from None


def _parsed(text: str) -> FilterNode:
    try:
        return ScimFilter(text).ast
    except InvalidFilterException as error:
        raise InvalidFilterException(
            detail=f"The filter cannot be read{_column(error)}: write an attribute, an operator "
            'and a value, such as userName eq "bjensen"'
        ) from None


def _column(error: SCIMException) -> str:
    found = re.search(r"at column (\d+)", error.detail)
    return f" from column {found[1]} on" if found else ""


class UnholdableException(InvalidFilterException):
    """A filter compares with a character that no attribute can hold."""


class _Careful(FilterVisitor[FilterNode]):
    """Rewrites comparisons. Inside brackets, names are sub-attributes of ``head``.

    What needs no change is returned as it is.
    """

    def __init__(self, models: Models, head: AttrPath | None = None) -> None:
        self.models = models
        self.head = head

    def visit_comparison(self, node: Comparison) -> FilterNode:
        if isinstance(node.value, str):
            _check_operand(node.value)
        node, binding = self._bound(node)
        kind = binding.target_type
        if kind is bool and isinstance(node.value, str):
            boolean = _BOOLEANS.get(node.value.lower())
            if boolean is not None:
                node = replace(node, value=boolean)
        if isclass(kind) and issubclass(kind, BaseModel):
            return _by_value(node, binding, kind)
        found = self._by_reference(node, binding)
        if found is node:
            _check_comparison(node, binding)
        return found

    def visit_present(self, node: Present) -> FilterNode:
        node, binding = self._bound(node)
        return Present(AttrPath("id")) if _is_location(binding) else node

    def visit_not(self, node: Not) -> FilterNode:
        expr = self.visit(node.expr)
        return node if expr is node.expr else Not(expr)

    def visit_logical_expr(self, node: LogicalExpr) -> FilterNode:
        terms = tuple(self.visit(term) for term in node.terms)
        same = all(new is old for new, old in zip(terms, node.terms, strict=True))
        return node if same else LogicalExpr(node.op, terms)

    def visit_value_path(self, node: ValuePath) -> FilterNode:
        node, binding = self._bound(node)
        if not binding.is_multivalued:
            raise InvalidFilterException(
                detail=f"{node.attr_path} has one value and not a list of them: compare it without "
                "brackets"
            )
        inner = _Careful(self.models, node.attr_path).visit(node.val_filter)
        return node if inner is node.val_filter else replace(node, val_filter=inner)

    def _by_reference(self, node: Comparison, binding: AttributeBinding) -> FilterNode:
        """Return a comparison in terms of what is stored of a reference, if it is of one."""
        op, url = node.op, node.value
        types = references.targets(binding.target_type)
        if not types and not _is_location(binding):
            return node
        if not isinstance(url, str | None):
            raise InvalidFilterException(
                detail=f"{node.attr_path} {op.value} {shown(url)}: compare a reference with a URL "
                "in double quotes"
            )
        if _is_location(binding):
            return references.located([_name(model) for model in self.models], op, url)
        derived = references.is_derived(binding)
        if self.head is not None or not binding.is_multivalued:
            if derived:
                return references.of_entry(types, op, url)
            return references.written(node.attr_path, op, url)
        # Of a list, some entry must be so as a whole; "ne" wants that none is equal.
        whole = AttrPath(node.attr_path.attr, None, node.attr_path.uri)
        if url is None:
            value = replace(whole, sub_attr="value") if derived else node.attr_path
            return replace(node, attr_path=value)
        if op is CompareOperator.ne:
            return Not(self._by_reference(replace(node, op=CompareOperator.eq), binding))
        if derived:
            return ValuePath(whole, references.of_entry(types, op, url))
        part = AttrPath(node.attr_path.sub_attr or "value")
        return ValuePath(whole, references.written(part, op, url))

    def _bound(self, node: NodeT) -> tuple[NodeT, AttributeBinding]:
        """Return a node and what it is about; an extension's attribute may come without its URN.

        :raises InvalidFilterException: When it is about nothing that any of the models has.
        """
        binding = self._binding(node.attr_path)
        if binding is not None:
            return node, binding
        if self.head is None and node.attr_path.uri is None:
            urns = {urn for model in self.models for urn in model.get_extension_models()}
            for urn in sorted(urns):
                path = replace(node.attr_path, uri=urn)
                binding = self._binding(path)
                if binding is not None:
                    return replace(node, attr_path=path), binding
        raise _unknown(node.attr_path, self.head)

    def _binding(self, path: AttrPath) -> AttributeBinding | None:
        """Return the attribute that a path means in the first of the models that has it."""
        if self.head is not None:
            if path.uri or path.sub_attr:
                return None
            path = AttrPath(self.head.attr, path.attr, self.head.uri)
        for model in self.models:
            binding = _resolved(path, model)
            if binding is None and self.head is not None and str(path.sub_attr).lower() == "value":
                # in a list of plain values, "value" is the value itself
                binding = _resolved(self.head, model)
            if binding is not None:
                return binding
        return None


@lru_cache(maxsize=1024)
def _resolved(path: AttrPath, model: type[Resource[Any]]) -> AttributeBinding | None:
    return Path(str(path)).resolve(model)


def _by_value(node: Comparison, binding: AttributeBinding, kind: type[BaseModel]) -> FilterNode:
    """Return a comparison with a complex attribute as one with its ``value``."""
    if node.value is None:
        return node  # whether it is there at all
    if "value" in kind.model_fields:
        if binding.is_multivalued:
            return node  # the models read it so
        return replace(node, attr_path=replace(node.attr_path, sub_attr="value"))
    part = next(iter(kind.model_fields.values())).serialization_alias
    raise InvalidFilterException(
        detail=f"{node.attr_path} has sub-attributes and no value of its own: compare one of them, "
        f"such as {node.attr_path}.{part}"
    )


def _check_comparison(node: Comparison, binding: AttributeBinding) -> None:
    """Refuse an operator or a value that the attribute's type does not have (RFC 7644 §3.4.2.2)."""
    path, op, kind = node.attr_path, node.op, binding.target_type
    is_text = not (isclass(kind) and issubclass(kind, bool | bytes | int | float | datetime))
    if isclass(kind) and issubclass(kind, bool | bytes) and op not in _SAMENESS:
        raise InvalidFilterException(
            detail=f"{path} {op.value}: such an attribute is compared with eq or ne only"
        )
    if not is_text and op in _PARTS:
        raise InvalidFilterException(
            detail=f"{path} {op.value}: only text has parts; compare it with eq, ne, gt, ge, lt "
            "or le"
        )
    if op not in _SAMENESS and _is_write_only(binding):
        raise InvalidFilterException(detail=f"{path} is never shown: compare it with eq or ne only")
    try:
        value = coerce_value(binding, node.value, op)
    except InvalidFilterException:
        value = InvalidFilterException
    if value is InvalidFilterException or (
        is_text and op in _PARTS and not isinstance(value, str | None)
    ):
        raise InvalidFilterException(
            detail=f"{path} {op.value} {shown(node.value)}: compare it with {_wanted(kind)}"
        )


def _is_write_only(binding: AttributeBinding) -> bool:
    return Mutability.write_only in (
        binding.model.get_field_annotation(binding.field_name, Mutability),
        binding.get_annotation(Mutability),
    )


def _wanted(kind: Any) -> str:
    for types, wanted in _WANTED:
        if isclass(kind) and issubclass(kind, types):
            return wanted
    return "a string in double quotes"


def _unknown(path: AttrPath, head: AttrPath | None) -> InvalidFilterException:
    of = f" of {head}" if head else ""
    return InvalidFilterException(
        detail=f"{shown(path)} is no attribute{of}: see /Schemas for those that a filter can use"
    )


def _check_operand(text: str) -> None:
    found = CONTROL.search(text)
    if found:
        raise UnholdableException(
            detail=f"The filter compares with the character U+{ord(found.group()):04X}, "
            "which no attribute can hold"
        )


def _is_location(binding: AttributeBinding) -> bool:
    return binding.field_name == "meta" and binding.sub_field_name == "location"


def _name(model: type[Resource[Any]]) -> str:
    """Return the name of a resource type, which is the last segment of its schema's URN."""
    return str(model.__schema__).rpartition(":")[2]
