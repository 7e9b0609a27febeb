"""Turns a document into rows, one for each scalar, in the form in which values are compared.

The form is that of :meth:`scim2_models.AttributeBinding.comparable`, so that SQL compares values
like scim2-models: strings in NFC, and in lower case unless the attribute is ``caseExact``.

A document is a resource in SCIM JSON form, with every name as its schema declares it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from inspect import isclass
from typing import Any, Literal, NamedTuple
from unicodedata import normalize

from scim2_models import (
    AttributeBinding,
    Extension,
    InvalidValueException,
    Mutability,
    Path,
    Resource,
    Uniqueness,
)
from scim2_server.utils import parametrize

from kong_scim.directory.kinds import Kind
from kong_scim.directory.tables import HEAD

COLUMNS = frozenset({"id", "meta"})
"""Attributes that are columns of a resource's own row."""


Operand = tuple[str | None, str | None]
"""A text or a number, as :func:`comparable` returns them."""


class Value(NamedTuple):
    """A row of ``scim_values``, without the resource it belongs to."""

    attr: str
    entry: int
    item: int
    val: str | None
    head: str | None
    num: str | None
    sorts: int


@dataclass(frozen=True)
class _Attribute:
    """An attribute of a document, or a sub-attribute.

    :param urn: The URN of the extension that has the attribute; None for the resource itself.
    :param name: Its name in JSON.
    :param parts: Its sub-attributes.
    """

    key: str
    binding: AttributeBinding
    urn: str | None
    name: str
    parts: tuple[_Attribute, ...] = ()

    @classmethod
    def of(cls, binding: AttributeBinding, parts: Iterable[_Attribute] = ()) -> _Attribute:
        """Return the attribute of a binding."""
        extension = issubclass(binding.model, Extension)
        return cls(
            key=key_of(binding),
            binding=binding,
            urn=str(getattr(binding.model, "__schema__")) if extension else None,  # noqa: B009
            name=_name(binding.target_model, binding.target_field_name),
            parts=tuple(parts),
        )

    def value_in(self, doc: Mapping[str, Any]) -> Any:
        """Return the value of the attribute in a document, or None."""
        host = doc if self.urn is None else doc.get(self.urn)
        return host.get(self.name) if host else None

    @cached_property
    def _reads(self) -> Literal["date", "binary", "exact", "folded"]:
        """How a text is read in the form for comparisons."""
        target = self.binding.target_type
        if isclass(target) and issubclass(target, datetime | bytes):
            return "date" if issubclass(target, datetime) else "binary"
        return "exact" if self.binding.case_exact else "folded"

    def comparable(self, value: Any) -> Operand:
        """Return a JSON value of the attribute as :func:`comparable` returns it."""
        if isinstance(value, str):
            reads = self._reads
            if reads == "date":
                return instant(datetime.fromisoformat(value)), None
            if reads == "binary":
                return value, None
            return normalized(value) if reads == "exact" else folded(value), None
        return comparable(self.binding, value)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def instant(moment: datetime) -> str:
    """Return a date as UTC text of a fixed width, so that it sorts as a string.

    A date without a zone is read as UTC. One outside of the range of UTC becomes the nearest in it.
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        earliest, latest = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        moment = earliest if moment.year == earliest.year else latest
    return moment.isoformat(timespec="microseconds")


def to_the_second(stored: str) -> str:
    """Return a date of :func:`instant` as messages and answers show it, to the second."""
    return stored[:19] + "Z"


def key_of(binding: AttributeBinding) -> str:
    """Return the ``attr`` of an attribute's rows: ``emails.type``, or with an extension's URN."""
    urn = binding.urn
    if not issubclass(binding.model, Extension):
        schema = getattr(binding.model, "__schema__", None)
        urn = urn.removeprefix(f"{schema}:")
    return urn.lower()


def normalized(text: str) -> str:
    """Return a text that is ``caseExact`` in the form for comparisons."""
    return text if text.isascii() else normalize("NFC", text)


def folded(text: str) -> str:
    """Return any other text in the form for comparisons."""
    return text.lower() if text.isascii() else normalize("NFC", normalize("NFC", text).lower())


def comparable(binding: AttributeBinding, value: Any) -> Operand:
    """Return the text or the number by which a scalar is compared; the other one is None.

    A number is returned as text, because Lua would round it; a boolean is 0 or 1. For a string that
    scim2-models cannot normalize both are None, so that it equals nothing.

    :raises ~scim2_models.InvalidValueException: For a number that is too large for a double.
    """
    if isinstance(value, bool | int | float):
        try:
            return None, repr(float(value))
        except OverflowError:
            raise InvalidValueException(
                detail=f"The number given for {binding.urn} is too large"
            ) from None
    if isinstance(value, datetime):
        return instant(value), None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode(), None
    if isinstance(value, str):
        try:
            return str(binding.comparable(value)), None
        except ValueError:
            return None, None
    return None, None


def rows(kind: Kind, doc: Mapping[str, Any]) -> list[Value]:
    """Return the rows of every attribute that a document has, except those that are columns."""
    found: list[Value] = []
    for attribute, held in _held(_attributes(kind.model, kind.computed), doc):
        entries = held if isinstance(held, list) else [held]
        first = _sorting_index(entries)
        for index, entry in enumerate(entries):
            sorts = int(index == first)
            if not attribute.parts:
                found.append(_row(attribute, index, 0, entry, sorts))
                continue
            part_rows = [
                row for part in attribute.parts for row in _part_rows(part, index, entry, sorts)
            ]
            filled = any(row.num is not None or row.val for row in part_rows)
            val, num = (None, "1.0") if filled else ("", None)
            found.append(Value(attribute.key, index, 0, val, None, num, 0))
            found.extend(part_rows)
    return found


def uniques(kind: Kind, doc: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the digest and the value of each unique attribute, by the attribute's URN.

    These are the attributes of ``server`` and ``global`` uniqueness (RFC 7643 §7), except ``id``,
    which the directory generates. Resources of different types conflict too if they have the same
    value under one URN (erratum 8279).
    """
    found = {}
    for attribute in _unique_attributes(kind.model):
        held = attribute.value_in(doc)
        if held is None:
            continue
        if isinstance(held, list):
            text: str | None = json.dumps([attribute.comparable(each) for each in held])
        else:
            val, num = attribute.comparable(held)
            text = num if val is None else val
        if text is not None:
            digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            found[attribute.binding.urn] = (digest, str(held))
    return found


def drop_write_only(kind: Kind, dumped: dict[str, Any]) -> None:
    """Remove write-only attributes, such as ``password``, from a resource in JSON.

    The gateway does not use them, and a value that is not stored cannot leak.
    """
    for binding in _write_only(kind.model):
        host = dumped
        if issubclass(binding.model, Extension):
            host = dumped.get(str(binding.model.__schema__)) or {}
        name = _name(binding.model, binding.field_name)
        if binding.sub_field_name is None:
            host.pop(name, None)
            continue
        held, part = host.get(name), _name(binding.field_type, binding.sub_field_name)
        for entry in held if isinstance(held, list) else [held]:
            if isinstance(entry, dict):
                entry.pop(part, None)


def _name(model: Any, field_name: str) -> str:
    """Return an attribute's name in JSON."""
    return str(model.model_fields[field_name].serialization_alias or field_name)


_Table = Mapping[str, "_Attribute | _Table"]
"""The attributes of a document by their names; those of an extension are a table below its URN."""


def _held(table: _Table, doc: Mapping[str, Any]) -> Iterator[tuple[_Attribute, Any]]:
    """Yield the attributes of a document that have a value, with the value."""
    for name, value in doc.items():
        attribute = table.get(name)
        if attribute is None or value is None:
            continue
        if isinstance(attribute, _Attribute):
            yield attribute, value
        else:
            yield from _held(attribute, value)


def _sorting_index(entries: list[Any]) -> int:
    """Return the index of the entry for sorting: the primary, or the first (RFC 7644 §3.4.2.3)."""
    return next(
        (
            index
            for index, entry in enumerate(entries)
            if isinstance(entry, dict) and entry.get("primary")
        ),
        0,
    )


def _part_rows(
    part: _Attribute, index: int, entry: Mapping[str, Any], sorts: int
) -> Iterator[Value]:
    held = entry.get(part.name)
    if held is None:
        return
    for item, value in enumerate(held if isinstance(held, list) else [held]):
        yield _row(part, index, item, value, sorts if item == 0 else 0)


def _row(attribute: _Attribute, entry: int, item: int, value: Any, sorts: int) -> Value:
    val, num = attribute.comparable(value)
    return Value(attribute.key, entry, item, val, val and val[:HEAD], num, sorts)


def _bindings(model: type[Resource[Any]], **which: Any) -> Iterable[AttributeBinding]:
    for path in parametrize(Path, model).iter_paths(**which):
        binding = path.resolve()  # None for a path that is a whole extension
        if binding is not None and binding.field_name not in COLUMNS:
            yield binding


@lru_cache(maxsize=64)
def _write_only(model: type[Resource[Any]]) -> tuple[AttributeBinding, ...]:
    return tuple(_bindings(model, mutability=[Mutability.write_only]))


@lru_cache(maxsize=64)
def _unique_attributes(model: type[Resource[Any]]) -> tuple[_Attribute, ...]:
    which = [Uniqueness.server, Uniqueness.global_]
    return tuple(
        map(_Attribute.of, _bindings(model, include_subattributes=False, uniqueness=which))
    )


@lru_cache(maxsize=64)
def _attributes(model: type[Resource[Any]], computed: str | None) -> _Table:
    hidden = set(_write_only(model))
    heads: dict[tuple[type, str], AttributeBinding] = {}
    parts: dict[tuple[type, str], list[_Attribute]] = {}
    schemas = parametrize(Path, model)("schemas").resolve()
    for binding in (schemas, *_bindings(model)):
        if binding is None or binding in hidden or binding.field_name == computed:
            continue
        context = (binding.model, binding.field_name)
        if binding.sub_field_name is None:
            heads[context] = binding
        else:
            parts.setdefault(context, []).append(_Attribute.of(binding))
    table: dict[str, Any] = {}
    for context, binding in heads.items():
        attribute = _Attribute.of(binding, parts.get(context, ()))
        place = table if attribute.urn is None else table.setdefault(attribute.urn, {})
        place[attribute.name] = attribute
    return table
