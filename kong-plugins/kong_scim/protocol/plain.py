"""Reads payloads that are in canonical form already, in microseconds.

A payload is plain if every key is a known one in its own case, every value is of its JSON type, and
nothing in it means something else than it says: no null, no empty list, no reference, no date. A
plain type of pydantic validates it straight from the bytes. Whatever is not plain is read by
:mod:`kong_scim.protocol.leniency` and the models of scim2-models, and means the same: a test holds
that both ways store the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from inspect import isclass
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, StrictBool, StrictStr, TypeAdapter, ValidationError
from scim2_models import (
    BaseModel,
    InvalidValueException,
    Mutability,
    PatchOp,
    Path,
    Reference,
    Resource,
)
from scim2_models.attributes import ExtensibleStringEnum
from scim2_server.utils import parametrize
from typing_extensions import TypedDict

from kong_scim import cpu
from kong_scim.directory.documents import Content, Found, with_record
from kong_scim.directory.shapes import STRICT, names_of, shape
from kong_scim.directory.stored_row import Document
from kong_scim.protocol.attributes import Attribute, schemas_of
from kong_scim.protocol.leniency.bodies import FORGOTTEN
from kong_scim.protocol.leniency.values import checked_name
from kong_scim.protocol.members import MemberChanges

_TEXT = Annotated[StrictStr, Field(pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]
"""A text without the characters that :mod:`kong_scim.protocol.limits` refuses."""

_WORD = Annotated[StrictStr, Field(pattern=r"^[^\s\x00-\x1f\x7f]+$")]

_KEY_END = re.compile(rb'(?<!\\)"\s*:')
"""The end of a key in JSON. In a string, a backslash would stand before the quotation mark."""

_ONE_MEMBER = re.compile(r'members\[value eq "([^"\\]+)"\]')

_ID = re.compile(r"[A-Za-z0-9._~-]+")


class NotPlainError(Exception):
    """The payload is not plain; it may be valid all the same."""


@dataclass(frozen=True)
class PlainPatch:
    """A PATCH that replaces simple attributes, and adds and removes single members of a group.

    :param changes: The new values of the attributes; a complex one has only the parts to replace.
    """

    members: MemberChanges
    changes: Document


class _Operation(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]

    op: _TEXT
    path: NotRequired[_TEXT]
    value: NotRequired[Any]


class _PatchMessage(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]

    schemas: tuple[StrictStr]
    Operations: list[_Operation]


_PATCH = TypeAdapter(_PatchMessage)


class PlainPayloads:
    """Reads the plain payloads of one resource type."""

    def __init__(self, model: type[Resource[Any]]) -> None:
        self._schemas = schemas_of(model)
        self._urns = frozenset(self._schemas.attributes)
        self._own = self._schemas.attributes[self._schemas.urn]
        self._whole = TypeAdapter(shape(model, _plain_type))
        self._part = TypeAdapter(shape(model, _plain_type, partial=True))
        self._order = {
            name: place
            for place, name in enumerate([*(a.name for a in self._own.values()), *self._urns])
        }
        self._immutable = tuple(f'"{name}":' for name in _immutable(model))
        self._has_members = "members" in self._own
        self._has_active = "active" in self._own

    def resource(self, body: bytes, *, creation: bool) -> Content:
        """Return the body of a POST or PUT. That of a PUT may lack ``active``.

        :param creation: Whether defaults apply: a user who is created without ``active`` is active.
        :raises NotPlainError: When it is not plain.
        """
        if not creation and any(name.encode() in body for name in self._immutable):
            raise NotPlainError
        payload = self._validated(self._whole, body)
        members = tuple(dict.fromkeys(each.get("value", "") for each in payload.pop("members", ())))
        if not all(map(_ID.fullmatch, members)):
            raise NotPlainError
        doc = self._document(payload)
        listed = set(payload["schemas"])
        if self._schemas.urn not in listed or not listed <= self._urns:
            raise NotPlainError
        held = [urn for urn in self._schemas.attributes if urn in doc]
        doc["schemas"] = list(dict.fromkeys([self._schemas.urn, *held]))
        if creation and self._has_active and "active" not in doc:
            doc["active"] = True
            doc = self.ordered(doc)
        return Content(doc, members)

    def replaced(self, found: Found, replacement: Content) -> Content | None:
        """Return the new content of a resource that a PUT replaces; None if nothing changes.

        ``active`` stays if the PUT lacks it (RFC 7644 §3.5.1).

        :raises NotPlainError: When the resource may have a value that cannot be changed.
        """
        if any(name in found.row.text for name in self._immutable):
            raise NotPlainError
        (doc, members), row = replacement, found.row
        if self._has_active and "active" not in doc and "active" in row.doc:
            doc = self.ordered({**doc, "active": row.doc["active"]})
        same_members = set(members) == {each.id for each in found.members}
        if same_members and _unordered(doc) == _unordered(with_record(found.kind, row.doc, None)):
            return None
        return Content(doc, members)

    def ordered(self, doc: Document) -> dict[str, Any]:
        """Return a document with its attributes in the order of the schema."""
        last = len(self._order)
        return {name: doc[name] for name in sorted(doc, key=lambda n: self._order.get(n, last))}

    def patch(self, body: bytes, max_operations: int) -> PlainPatch:
        """Return a PATCH that replaces simple attributes, and adds and removes single members.

        :raises NotPlainError: When it is not plain, or does something else.
        """
        message = self._validated(_PATCH, body)
        operations = message["Operations"]
        if message["schemas"][0] != str(PatchOp.__schema__) or not operations:
            raise NotPlainError
        if len(operations) > max_operations:
            raise NotPlainError
        members = MemberChanges()
        changes: dict[str, Any] = {}
        for operation in operations:
            cpu.check()
            for name, value in self._writes(operation, members):
                held = changes.get(name)
                changes[name] = {**held, **value} if isinstance(held, dict) else value
        return PlainPatch(members, changes)

    def patched(self, doc: Document, changes: Document) -> Document | None:
        """Return a document with the changes of a PATCH, or None if they change nothing."""
        new = dict(doc)
        for name, value in changes.items():
            if isinstance(value, dict):
                value = self._merged(self._own[name.lower()], doc.get(name, {}), value)  # noqa: PLW2901
            new[name] = value
        return None if new == doc else self.ordered(new)

    @staticmethod
    def _merged(attribute: Attribute, held: Document, value: Document) -> Document:
        both = {**held, **value}
        names = (part.name for part in attribute.parts.values())
        return {name: both[name] for name in names if name in both}

    def _writes(self, operation: _Operation, members: MemberChanges) -> Iterator[tuple[str, Any]]:
        """Yield the simple attributes that an operation replaces, or note its members."""
        op, path, value = operation["op"].lower(), operation.get("path"), operation.get("value")
        if self._has_members and path is not None and path.startswith("members"):
            self._note_members(op, path, value, members)
            return
        if op not in ("add", "replace"):
            raise NotPlainError
        if path is not None:
            head, dot, part = path.partition(".")
            value = {head: {part: value} if dot else value}
        elif not isinstance(value, dict) or not value:
            raise NotPlainError
        try:
            found = self._part.validate_python(value)
        except ValidationError:
            raise NotPlainError from None
        for name in found:
            attribute = self._own.get(name.lower())
            if attribute is None or attribute.multivalued or attribute.name == "schemas":
                raise NotPlainError
            if attribute.kind == "complex" and path is None:
                raise NotPlainError  # a part of it may be left out
        checked = self._document(found)
        if checked.keys() != found.keys():
            raise NotPlainError
        yield from checked.items()

    @staticmethod
    def _note_members(op: str, path: str, value: Any, members: MemberChanges) -> None:
        one = _ONE_MEMBER.fullmatch(path)
        if one is not None and op == "remove" and value is None:
            members.removed([one[1]])
            return
        entries = value if isinstance(value, list) else None
        if path != "members" or op not in ("add", "remove") or not entries:
            raise NotPlainError
        ids = []
        for entry in entries:
            member = entry.get("value") if isinstance(entry, dict) else None
            if not isinstance(member, str) or not _ID.fullmatch(member):
                raise NotPlainError
            ids.append(member)
        (members.added if op == "add" else members.removed)(ids)

    def _validated(self, adapter: TypeAdapter[Any], body: bytes) -> dict[str, Any]:
        try:
            payload: dict[str, Any] = adapter.validate_json(body)
        except ValidationError:
            raise NotPlainError from None
        # Of a key that stands twice in an object, pydantic has the last value only.
        if _keys(payload) != len(_KEY_END.findall(body)):
            raise NotPlainError
        return payload

    def _document(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return a validated payload without what is not stored.

        :raises NotPlainError: When a value is empty, or a rule changes it.
        """
        doc: dict[str, Any] = {}
        for name, value in payload.items():
            attribute = self._own.get(name.lower())
            if attribute is None:
                if value and not self._schemas.is_read_only(name):
                    doc[name] = _checked_parts(self._schemas.attributes[name], value)
                elif not value:
                    raise NotPlainError
            elif not attribute.read_only and name != FORGOTTEN:
                doc[name] = _checked(attribute, value)
        return doc


def _immutable(model: type[Resource[Any]]) -> set[str]:
    """Return the names of attributes that cannot be changed once they are set."""
    paths = parametrize(Path, model).iter_paths(mutability=[Mutability.immutable])
    bindings = [binding for path in paths if (binding := path.resolve()) is not None]
    return {
        dict(names_of(binding.target_model))[binding.target_field_name]
        for binding in bindings
        if binding.target_model is not None and binding.field_name != "members"
    }


def _unordered(value: Any) -> Any:
    """Return a JSON value in which the order of entries does not matter (RFC 7643 §2.4)."""
    if isinstance(value, dict):
        return {name: _unordered(item) for name, item in value.items()}
    if isinstance(value, list):
        return sorted(json.dumps(_unordered(item), sort_keys=True) for item in value)
    return value


def _keys(value: Any) -> int:
    """Return how many keys all objects in a JSON value have."""
    if isinstance(value, dict):
        return len(value) + sum(_keys(each) for each in value.values())
    if isinstance(value, list | tuple):
        return sum(_keys(each) for each in value)
    return 0


def _checked(attribute: Attribute, value: Any) -> Any:
    if attribute.is_name:
        try:
            return checked_name(attribute.name, value)
        except InvalidValueException:
            raise NotPlainError from None
    if value in ("", []) or (isinstance(value, str) and not value.strip()):
        raise NotPlainError
    if attribute.kind != "complex":
        if attribute.multivalued and not all(str(each).strip() for each in value):
            raise NotPlainError
        return value
    if not attribute.multivalued:
        return _checked_parts(attribute.parts, value)
    entries = [_checked_parts(attribute.parts, entry) for entry in value]
    if sum(entry.get("primary") is True for entry in entries) > 1:
        raise NotPlainError
    return entries


def _checked_parts(parts: Mapping[str, Attribute], value: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, item in value.items():
        part = parts[name.lower()]
        if not part.read_only:
            found[name] = _checked(part, item)
    if not found:
        raise NotPlainError
    return found


def _plain_type(model: type[BaseModel], field_name: str) -> Any:
    """Return the type of the plain values of a field; None if each may mean something else."""
    kind: Any = model.get_field_root_type(field_name)
    if kind is bool:
        return StrictBool
    if not isclass(kind):
        return None  # base64, which must be checked
    if issubclass(kind, Reference):
        types = set(kind.__reference_types__)
        return _WORD if not types or types & {"external", "uri"} else None
    if issubclass(kind, ExtensibleStringEnum):
        return Annotated[_TEXT, AfterValidator(_canonical_value(kind))]
    return _TEXT if issubclass(kind, str) else None


@lru_cache(maxsize=64)
def _canonical_value(kind: type[ExtensibleStringEnum]) -> Any:
    known = {each.value.lower(): each.value for each in kind}

    def check(value: str) -> str:
        if known.get(value.lower(), value) != value:
            raise ValueError("another case")
        return value

    return check
