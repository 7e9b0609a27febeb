"""Tables of the attributes that a resource type's payloads may have, made once from its models.

Reading a payload needs no model: the tables say which keys are known, in which spellings, and of
which shape their values are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from inspect import isclass
from typing import Any, Literal, NamedTuple

from scim2_models import (
    BaseModel,
    ComplexAttribute,
    Group,
    Mutability,
    Reference,
    Required,
    Resource,
    User,
)

Kind = Literal["string", "boolean", "link", "reference", "complex", "other"]
"""``link`` is a reference to anything on the web, ``reference`` one to a resource; ``other`` are
numbers, dates and binary values."""

FINAL = "urn:ietf:params:scim:"
DRAFT = "urn:scim:"
"""How URNs begin in RFC 7643, and in the drafts before it, which OneLogin still sends."""

_NAMES = frozenset({"userName", "externalId", f"{Group.__schema__}:displayName"})
_LASTING = f"{User.__schema__}:active"
_KEY = re.compile(r"(?P<head>\$?[\w-]+)(?:\[(?P<selection>.+)\])?(?:\.(?P<part>\$?[\w-]+))?", re.S)


@dataclass(frozen=True, eq=False)
class Attribute:
    """An attribute or a sub-attribute.

    :param is_name: Whether the gateway looks things up by it, or shows it as a name.
    :param lasting: Whether null leaves it as it is once the resource is there: ``active``, by which
        nobody is let in again but by true.
    :param parts: The sub-attributes, by their names in lower case.
    """

    name: str
    kind: Kind
    multivalued: bool = False
    read_only: bool = False
    required: bool = False
    is_name: bool = False
    lasting: bool = False
    parts: Mapping[str, Attribute] = field(default_factory=dict)
    is_text: bool = field(init=False)
    """Whether any string is a value of it, as it is: what most attributes are."""

    def __post_init__(self) -> None:
        text = self.kind == "string" and not (self.multivalued or self.read_only or self.is_name)
        object.__setattr__(self, "is_text", text)


class Key(NamedTuple):
    """The attribute that a key of a payload, or the path of a PATCH, names.

    :param urn: The schema it is of.
    :param attribute: None where it is the schema itself.
    :param selection: The filter in brackets, which selects entries of a list.
    :param part: The sub-attribute.
    """

    urn: str
    attribute: Attribute | None = None
    selection: str | None = None
    part: Attribute | None = None

    @property
    def selects(self) -> bool:
        """Whether it is about entries of a list rather than about an attribute as a whole."""
        attribute = self.attribute
        inside = self.part is not None or self.selection is not None
        return attribute is not None and attribute.multivalued and inside

    @property
    def target(self) -> Attribute:
        """The attribute, or the sub-attribute, whose value it is."""
        found = self.part or self.attribute
        assert found is not None  # noqa: S101 - whoever asks knows that it is no schema
        return found


@dataclass(frozen=True, eq=False)
class Schemas:
    """The schemas of a resource type: its own, and those of its extensions.

    :param urn: Its own.
    :param attributes: By the URN of each schema, by their names in lower case.
    :param urns: The URN of each schema by every spelling of it, in lower case, longest first.
    """

    urn: str
    attributes: Mapping[str, Mapping[str, Attribute]]
    urns: Mapping[str, str]

    def read(self, text: str, urn: str) -> Key | None:
        """Return what a key names, or None where no schema here knows it.

        It may be of any case, qualified by a URN, dotted, and select entries of a list.

        :param urn: The schema whose attributes it names where it is not qualified.
        """
        text = text.strip()
        lower = text.lower()
        if ":" in text:
            for spelling, known in self.urns.items():
                if lower == spelling:
                    return Key(known)
                if lower.startswith(spelling + ":"):
                    urn, text = known, text[len(spelling) + 1 :]
                    break
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        attribute = self.attributes[urn].get(match["head"].lower())
        selection, name = match["selection"], match["part"]
        if attribute is None or (selection is not None and not attribute.multivalued):
            return None
        if name is None:
            return Key(urn, attribute, selection)
        part = attribute.parts.get(name.lower())
        if part is None and name.lower() == "value" and not attribute.parts:
            return Key(urn, attribute, selection)  # a plain value is its own ``value``
        return None if part is None else Key(urn, attribute, selection, part)

    def is_read_only(self, urn: str) -> bool:
        """Tell whether the server alone writes a schema's attributes."""
        attributes = self.attributes[urn].values()
        return all(each.read_only or each.name == "schemas" for each in attributes)

    def text(self, key: Key) -> str:
        """Return a key as the path of a PATCH."""
        if key.attribute is None:
            return key.urn
        prefix = "" if key.urn == self.urn else f"{key.urn}:"
        selection = "" if key.selection is None else f"[{key.selection}]"
        part = "" if key.part is None else f".{key.part.name}"
        return f"{prefix}{key.attribute.name}{selection}{part}"

    def urn_of(self, listed: str) -> str | None:
        """Return the URN of a schema by any spelling of it."""
        return self.urns.get(listed.strip().lower())


@cache
def schemas_of(model: type[Resource[Any]]) -> Schemas:
    """Return the tables of a resource type."""
    own = str(model.__schema__)
    models: dict[str, type[BaseModel]] = {own: model, **model.get_extension_models()}
    attributes = {str(urn): _attributes(each, str(urn)) for urn, each in models.items()}
    urns = {spelling: urn for urn in attributes for spelling in _spellings(urn)}
    longest = sorted(urns.items(), key=lambda item: -len(item[0]))
    return Schemas(own, attributes, dict(longest))


def _spellings(urn: str) -> list[str]:
    """Return a schema's URN in lower case, with and without the resource type at its end."""
    lower = urn.lower()
    found = [lower]
    if lower.startswith(FINAL):
        whole, _, resource = lower.rpartition(":")
        found += [whole] if resource.isalpha() else []
        found += [DRAFT + each.removeprefix(FINAL) for each in found]
    return found


def _attributes(model: type[BaseModel], urn: str | None) -> dict[str, Attribute]:
    declared = {}
    extensions = model.get_extension_models() if issubclass(model, Resource) else {}
    hidden = {each.__name__ for each in extensions.values()}
    for field_name, declaration in model.model_fields.items():
        if field_name in hidden:
            continue
        name = declaration.serialization_alias or field_name
        kind = model.get_field_root_type(field_name)
        annotation = model.get_field_annotation
        parts = None
        if isclass(kind) and issubclass(kind, ComplexAttribute):
            parts = _attributes(kind, None)
        declared[name.lower()] = Attribute(
            name,
            _kind(kind) if parts is None else "complex",
            multivalued=model.get_field_multiplicity(field_name),
            read_only=annotation(field_name, Mutability) == Mutability.read_only,
            required=annotation(field_name, Required) == Required.true,
            is_name=bool(urn and {name, f"{urn}:{name}"} & _NAMES),
            lasting=f"{urn}:{name}" == _LASTING,
            parts=parts or {},
        )
    return declared


def _kind(kind: Any) -> Kind:
    if kind is bool:
        return "boolean"
    if isclass(kind) and issubclass(kind, Reference):
        types = set(kind.__reference_types__)
        return "link" if not types or types & {"external", "uri"} else "reference"
    return "string" if isclass(kind) and issubclass(kind, str) else "other"
