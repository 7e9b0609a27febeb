"""Compares the values of one attribute in SQL, with the same result on both databases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scim2_models import AttributeBinding
from scim2_models.path import CompareOperator as Op
from sqlalchemy import ColumnElement, Text, and_, cast, false, func, literal, not_, null, or_, true

from kong_scim.bridge import Dialect
from kong_scim.directory.related import Related
from kong_scim.directory.tables import HEAD, resources, values
from kong_scim.directory.values import key_of

_LAST = "\U0010ffff"
"""The last code point: a text padded with it sorts after every value that starts with the text."""

Operand = tuple[str | None, str | None]
"""A text or a number, as :func:`~kong_scim.directory.values.comparable` returns them."""


@dataclass(frozen=True)
class Comparand:
    """The SQL expressions for the values of an attribute of the outer row.

    :param text: A value as text, in the form for comparisons.
    :param head: The beginning of the text that is indexed, or None without an index.
    :param num: A value as a number, or None if the attribute has no numbers.
    :param rows: The rows with one value each, or None if the columns are of the outer row itself.
    :param certain: Whether the text is never null.
    :param lacking: The condition that an entry of a multi-valued attribute has no value.
    """

    text: ColumnElement[Any]
    head: ColumnElement[Any] | None = None
    num: ColumnElement[Any] | None = None
    rows: Related | None = None
    certain: bool = False
    lacking: ColumnElement[bool] | None = None

    def any(self, condition: ColumnElement[bool], *, few: bool = False) -> ColumnElement[bool]:
        """Return the condition that some value meets a condition; ``few`` as in
        :meth:`Related.some`."""
        if self.rows is not None:
            return self.rows.some(condition, few=few)
        return condition if self.certain else func.coalesce(condition, false())

    def exists(self) -> ColumnElement[bool]:
        """Return the condition that there is a value."""
        is_present: ColumnElement[bool] = self.text.is_not(None)
        if self.num is not None:
            is_present = or_(is_present, self.num.is_not(None))
        return self.any(is_present)


def stored(dialect: Dialect, binding: AttributeBinding) -> Comparand:
    """Return the values of an attribute of the outer resource in ``scim_values``."""
    rows, key = values.alias(), key_of(binding)
    lacking = None
    if binding.is_multivalued and binding.sub_field_name is not None:
        entry, part = values.alias(), values.alias()
        entries = of_resource(dialect, entry, key.rpartition(".")[0])
        lacking = entries.some(not_(of_entry(dialect, part, key, entry).some()))
    return Comparand(
        rows.c.val,
        rows.c.head,
        rows.c.num,
        rows=of_resource(dialect, rows, key),
        lacking=lacking,
    )


def of_resource(dialect: Dialect, rows: Any, key: str) -> Related:
    """Return the rows of an attribute of the outer resource."""
    return Related(dialect, rows, rows.c.attr == key, ((rows.c.resource_id, resources.c.id),))


def of_entry(dialect: Dialect, rows: Any, key: str, entry: Any) -> Related:
    """Return the rows of a sub-attribute of the outer entry, which is a row itself."""
    ties = ((rows.c.resource_id, entry.c.resource_id), (rows.c.entry, entry.c.entry))
    common = not key.endswith(".value")
    return Related(dialect, rows, rows.c.attr == key, ties, common)


def column(binding: AttributeBinding) -> Comparand | None:
    """Return the column of ``scim_resources`` for an attribute, or None if it has none."""
    if binding.field_name == "id":
        return Comparand(resources.c.id, certain=True)
    if binding.field_name != "meta":
        return None
    columns: dict[str | None, ColumnElement[Any]] = {
        None: resources.c.type,  # ``meta`` as a whole is always present
        "resource_type": resources.c.type,
        "created": resources.c.created,
        "last_modified": resources.c.modified,
        "version": literal('W/"').concat(cast(resources.c.version, Text)).concat('"'),
    }
    text = columns.get(binding.sub_field_name)
    if text is None:
        return Comparand(null())
    if binding.sub_field_name in ("resource_type", "version") and not binding.case_exact:
        text = func.lower(text)
    return Comparand(text, certain=True)


def compare(
    comparand: Comparand, op: Op, expected: Operand | None, *, negated: bool = False
) -> ColumnElement[bool]:
    """Return the condition of a comparison with an operand, or with null (None).

    :param negated: Whether the condition is below a NOT.
    """
    if expected is None:
        is_null = not_(comparand.exists())
        if comparand.lacking is not None:
            is_null = or_(is_null, comparand.lacking)
        if op is Op.eq:
            return is_null
        return not_(is_null) if op is Op.ne else false()
    if op is Op.ne:
        return not_(comparand.any(_matches(comparand, Op.eq, expected)))
    few = not negated and op in (Op.eq, Op.sw) and expected[0] is not None
    return comparand.any(_matches(comparand, op, expected), few=few)


def present(comparand: Comparand) -> ColumnElement[bool]:
    """Return the condition that an attribute has a value that is not empty."""
    filled: ColumnElement[bool] = comparand.text != ""
    if comparand.num is not None:
        filled = or_(comparand.num.is_not(None), filled)
    return comparand.any(filled)


def _matches(comparand: Comparand, op: Op, expected: Operand) -> ColumnElement[bool]:
    text, num = expected
    if text is None:
        if num is None or comparand.num is None:
            return false()
        return _ordered(comparand.num, op, float(num))
    length = len(text)
    if op is Op.eq:
        whole = comparand.text == text
        return whole if comparand.head is None else and_(comparand.head == text[:HEAD], whole)
    if op is Op.sw:
        starts = func.substr(comparand.text, 1, length) == text
        if comparand.head is None:
            return starts
        # The range can be found by the index; the exact condition cannot.
        start = text[:HEAD]
        return and_(comparand.head >= start, comparand.head <= start.ljust(HEAD, _LAST), starts)
    if op is Op.ew:
        tail = func.substr(comparand.text, func.length(comparand.text) - length + 1)
        return and_(func.length(comparand.text) >= length, tail == text)
    if op is Op.co:
        # LIKE would ignore case in SQLite, and has wildcards.
        return func.replace(comparand.text, text, "") != comparand.text if text else true()
    return _ordered(comparand.text, op, text)


def _ordered(column: ColumnElement[Any], op: Op, value: str | float) -> ColumnElement[bool]:
    match op:
        case Op.eq:
            return column == value
        case Op.gt:
            return column > value
        case Op.ge:
            return column >= value
        case Op.lt:
            return column < value
        case _:
            return column <= value
