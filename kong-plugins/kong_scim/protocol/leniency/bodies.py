"""Reads the keys of a payload, in whatever form they come, into the canonical form.

Providers spell a key in any case, qualify it with the URN of its schema, in whatever version of
SCIM, dot it, and select entries of a list with it. Canonical is a payload with the names that the
schemas declare, an object under the URN of each extension, and values in their declared shape. JSON
in, JSON out; a payload that is canonical comes back as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from scim2_models import InvalidPathException, InvalidValueException, Path
from scim2_models.path import CompareOperator, Comparison, LogicalExpr, LogicalOperator, ValuePath

from kong_scim.protocol.attributes import Attribute, Key, Schemas
from kong_scim.protocol.leniency.values import combined, is_nothing, shaped, shaped_entry
from kong_scim.protocol.limits import check_path, shown

FORGOTTEN = "password"
"""Accepted and not kept: the gateway knows no passwords of people, and what is not stored cannot
leak; ServiceProviderConfig says changePassword false.

See docs/providers/traffic.md#a-password-at-creation.
"""


class Selected(NamedTuple):
    """A value for entries of a list, under a key such as ``emails[type eq "work"].value``."""

    key: Key
    value: Any


def canonical(
    schemas: Schemas, payload: dict[str, Any], urn: str
) -> tuple[dict[str, Any], list[Selected]]:
    """Return a payload in canonical form, and what it says of single entries of lists.

    What only the server writes, and what no schema here knows, is left out
    (docs/providers/traffic.md#everything-is-put-back,
    docs/providers/traffic.md#attributes-nobody-knows).

    :param urn: The schema whose attributes the payload holds: the resource's, or an extension's,
        whose attributes are in an object under its URN in the answer, too.
    :raises InvalidValueException: When an attribute is given twice with different values, has a
        value of the wrong shape, or stands where it cannot be.
    """
    reading = _Reading(schemas)
    reading.take(payload, urn)
    found = reading.found
    for extension in schemas.attributes:
        given = payload.get(extension)
        if isinstance(given, dict) and _is_same(found.get(extension), given):
            found[extension] = given
    return (payload if _is_same(found, payload) else found), reading.selected


def canonical_resource(schemas: Schemas, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a POST or PUT in canonical form.

    Keys that select entries of a list make the entries, as they do in a PATCH (RFC 7644 §3.5.2).

    :raises InvalidValueException: As :func:`canonical` does, and when it cannot be told which entry
        a key means.
    """
    found, selected = canonical(schemas, payload, schemas.urn)
    if selected:
        found = dict(found)
    for each in selected:
        _make_entry(schemas, found, each)
    return found


def _is_same(found: Any, payload: dict[str, Any]) -> bool:
    """Tell whether an object was found to be canonical, with all that is in it."""
    return (
        isinstance(found, dict)
        and len(found) == len(payload)
        and all(name in found and found[name] is payload[name] for name in payload)
    )


class _Reading:
    """Collects the values that the keys of one payload give."""

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas
        self.found: dict[str, Any] = {}
        self.selected: list[Selected] = []

    def take(self, payload: dict[str, Any], urn: str) -> None:
        """Read the keys of an object; ``urn`` is the schema they are of where they do not say."""
        attributes = self.schemas.attributes[urn]
        for name, value in payload.items():
            attribute = attributes.get(name.lower())
            if attribute is not None and attribute.is_text and type(value) is str:
                holder = self._holder(urn)
                if attribute.name not in holder and attribute.name != FORGOTTEN:
                    holder[attribute.name] = value
                    continue
            key = Key(urn, attribute) if attribute else self.schemas.read(name, urn)
            if key is None:
                _refuse_misread(attributes, name)
            elif key.attribute is None:
                self._take_schema(key.urn, value)
            else:
                self._take_attribute(key, key.attribute, value)

    def _take_schema(self, urn: str, value: Any) -> None:
        if self.schemas.is_read_only(urn):
            return
        if isinstance(value, dict):
            self._holder(urn)
            self.take(value, urn)
        elif not is_nothing(value):
            raise InvalidValueException(
                detail=f"{urn} is {shown(value)}: send an object with the attributes of this schema"
            )
        elif urn != self.schemas.urn:
            self.found.setdefault(urn, None)

    def _take_attribute(self, key: Key, attribute: Attribute, value: Any) -> None:
        if attribute.name == "schemas":
            if key.urn == self.schemas.urn:
                self.found["schemas"] = value
            return
        if attribute.read_only or key.target.read_only:
            return
        if attribute.name == FORGOTTEN and (value is None or isinstance(value, str)):
            return
        if key.selects:
            self.selected.append(Selected(key, value))
            return
        value = shaped(self.schemas, key.target, value)
        if key.part is not None:
            value = None if value is None else {key.part.name: value}
        holder = self._holder(key.urn)
        if attribute.name in holder:
            value = combined(attribute.name, holder[attribute.name], value)
        holder[attribute.name] = value

    def _holder(self, urn: str) -> dict[str, Any]:
        if urn == self.schemas.urn:
            return self.found
        if self.found.get(urn) is None:
            self.found[urn] = {}
        holder: dict[str, Any] = self.found[urn]
        return holder


def _refuse_misread(attributes: Mapping[str, Attribute], name: str) -> None:
    """Refuse a key that begins like one that is known, and is none: it is not to be dropped.

    :raises InvalidValueException: When it selects with a filter that does not end.
    """
    head, bracket, _ = name.strip().rpartition(":")[2].partition("[")
    if bracket and head.lower() in attributes:
        raise InvalidValueException(
            detail=f"The key {shown(name)} selects entries of {head} and cannot be read"
        )


def _make_entry(schemas: Schemas, found: dict[str, Any], selected: Selected) -> None:
    (urn, attribute, selection, part), value = selected
    assert attribute is not None  # noqa: S101 - it selects entries of one
    value = shaped(schemas, part, value) if part else shaped_entry(schemas, attribute, value)
    if is_nothing(value):
        return
    holder = found
    if urn != schemas.urn:
        holder = found[urn] = dict(found.get(urn) or {})
    entries = list(holder.get(attribute.name) or [])
    described = _described(schemas, attribute, selection) if selection is not None else {}
    fitting = [
        index
        for index, each in enumerate(entries)
        if isinstance(each, dict)
        and all(_alike(each.get(name), wanted) for name, wanted in described.items())
    ]
    written = {part.name: value} if part else value
    if not isinstance(written, dict):
        raise InvalidValueException(
            detail=f"The value of {shown(schemas.text(selected.key))} is {shown(value)}: send an "
            f"object, an entry of {attribute.name}"
        )
    entry = {**described, **written}
    if len(fitting) > 1:
        raise InvalidValueException(
            detail=f"{attribute.name} has several entries that the key "
            f"{shown(schemas.text(selected.key))} means: send {attribute.name} as a list"
        )
    if fitting:
        entries[fitting[0]] = combined(attribute.name, entries[fitting[0]], entry)
    else:
        entries.append(entry)
    holder[attribute.name] = shaped(schemas, attribute, entries)


def _described(schemas: Schemas, attribute: Attribute, selection: str) -> dict[str, Any]:
    """Return the sub-attributes that a filter says an entry has.

    :raises InvalidValueException: When it says them otherwise than by ``eq`` and ``and``.
    """
    text = f"{attribute.name}[{selection}]"
    check_path(text)
    try:
        node = Path(text).ast
    except InvalidPathException:
        node = None
    within = node.val_filter if isinstance(node, ValuePath) else None
    joined = isinstance(within, LogicalExpr) and within.op == LogicalOperator.and_
    found = {}
    for term in within.terms if isinstance(within, LogicalExpr) and joined else (within,):
        if isinstance(term, Comparison) and term.op == CompareOperator.eq:
            part = attribute.parts.get(term.attr_path.attr.lower())
            if part is not None:
                found[part.name] = shaped(schemas, part, term.value)
                continue
        raise InvalidValueException(
            detail=f"The key {shown(text)} does not say which entry it means: compare "
            f"sub-attributes of {attribute.name} with eq, or send {attribute.name} as a list"
        )
    return found


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold() == other.casefold()
    return one is not None and one == other
