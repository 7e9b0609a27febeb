"""Values in the shape their attributes declare, whatever shape a provider gave them.

A step before validation: it turns what is plain into what RFC 7643 wants, and leaves the rest for
the models to refuse.
"""

from __future__ import annotations

from functools import cache
from inspect import isclass
from typing import Any, NamedTuple

from scim2_models import BaseModel, ComplexAttribute, Group, InvalidValueException, Mutability

from kong_scim.scim import references
from kong_scim.scim.limits import CONTROL, shown

MAX_NAME = 512
"""Characters of a name that the gateway looks up by and shows: longer than any address (RFC 5321:
254), short enough for every index."""

FORGOTTEN = "password"
"""Accepted and not kept: the gateway knows no passwords of people, and what is not stored cannot
leak (interop 15; ServiceProviderConfig says changePassword false)."""

_NAMES = frozenset({"username", "externalid", f"{Group.__schema__}:displayname".lower()})
_BOOLEANS = {"true": True, "false": False}


class Attribute(NamedTuple):
    """What the shape of an attribute's value depends on."""

    name: str
    kind: Any
    """The Python type of one value."""
    multivalued: bool
    read_only: bool
    is_name: bool
    """Whether the gateway looks things up by it, or shows it as a name."""


@cache
def attributes_of(model: type[BaseModel]) -> dict[str, Attribute]:
    """Return the attributes a model declares, by their SCIM names in lower case."""
    declared = {}
    schema = getattr(model, "__schema__", None)
    for field_name, field in model.model_fields.items():
        name = field.serialization_alias or field_name
        declared[name.lower()] = Attribute(
            name,
            model.get_field_root_type(field_name),
            model.get_field_multiplicity(field_name),
            model.get_field_annotation(field_name, Mutability) == Mutability.read_only,
            bool({name.lower(), f"{schema}:{name}".lower()} & _NAMES),
        )
    return declared


def shaped_object(model: type[BaseModel], payload: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of a resource, an extension or a complex attribute in the declared shapes.

    Names no model declares are kept, for the models to ignore.
    """
    declared = attributes_of(model)
    result: dict[str, Any] = {}
    for name, value in payload.items():
        attribute = declared.get(name.lower())
        if attribute is None or attribute.name == "schemas":
            result[name] = value
        elif not attribute.read_only:
            result[name] = shaped(attribute, value)
    return result


def shaped(attribute: Attribute, value: Any) -> Any:
    """Return a value of an attribute in the shape it declares; None where it says nothing.

    :raises InvalidValueException: When a name is empty, too long or not printable, or a boolean is
        none.
    """
    if value is None:
        return None
    if attribute.multivalued:
        entries = value if isinstance(value, list) else [value]
        return [
            shaped_entry(attribute, entry) for entry in entries if entry is not None and entry != ""
        ]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        # Entra without its compliance flag wraps single values: [{"$ref": null, "value": "x"}].
        value = value[0] if is_complex(attribute.kind) else value[0].get("value")
    return shaped_entry(attribute, value)


def shaped_entry(attribute: Attribute, value: Any) -> Any:
    """Return one value of an attribute in the shape it declares."""
    kind = attribute.kind
    if is_complex(kind):
        return _complex(attribute, value)
    if kind is bool:
        return _boolean(attribute, value)
    if isinstance(value, str):
        if attribute.is_name:
            return checked_name(attribute.name, value)
        if references.targets(kind):
            value = references.stored(value)
        if value == "" and not (isclass(kind) and issubclass(kind, str) and not _is_uri(kind)):
            # "" is no date, number or URI; Okta and Entra send it for a value that is not set.
            return None
    return value


def checked_name(name: str, value: str) -> str:
    """Refuse a name that the gateway could not hold; a consumer's name becomes an HTTP header.

    :raises InvalidValueException: When it is empty, too long, or holds a control character.
    """
    if not value.strip():
        raise InvalidValueException(detail=f"{name} is empty: send a name, or leave it out")
    if len(value) > MAX_NAME:
        raise InvalidValueException(
            detail=f"{name} has {len(value)} characters, the limit is {MAX_NAME}"
        )
    if not value.isprintable() and (CONTROL.search(value) or set(value) & set("\t\r\n\x85")):
        raise InvalidValueException(detail=f"{name} holds a control character or a line end")
    return value


def _complex(attribute: Attribute, value: Any) -> Any:
    """Return one complex value; a plain string is its ``value`` sub-attribute.

    Entra sends a manager as a string, and clears one with "" (interop 5); smaller providers send
    roles and members as lists of strings.
    """
    declared = attributes_of(attribute.kind)
    if isinstance(value, str) and "value" in declared:
        return {"value": value} if value else None
    if not isinstance(value, dict):
        return value
    if attribute.multivalued:
        # Entra adds {"$ref": null} to what it means; in a list null can clear nothing.
        value = {name: item for name, item in value.items() if item is not None}
    entry = shaped_object(attribute.kind, value)
    if attribute.name.lower() == "manager" and entry.get("value") == "":
        return None
    if attribute.name == "members":
        return _member(entry)
    return entry


def _member(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies a member: the rest is the directory's to say.

    Okta and Entra put names and types of their own beside the id, which must neither be stored nor
    contradict an immutable sub-attribute when the group is put back (interop 3, 12, 14).
    """
    by_name = {name.lower(): value for name, value in entry.items()}
    if "value" not in by_name:
        raise InvalidValueException(
            detail="members has an entry without a value: send the id of a user or group"
        )
    if not isinstance(by_name["value"], str):
        raise InvalidValueException(
            detail="members has an entry whose value is no string: send the id of a user or group"
        )
    return {"value": by_name["value"]}


def _boolean(attribute: Attribute, value: Any) -> Any:
    """Return a boolean; Entra sends "True" and "False" (interop 2)."""
    if isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower(), value)
    if value is None or isinstance(value, bool):
        return value
    raise InvalidValueException(detail=f"{attribute.name} is {shown(value)}: send true or false")


def is_complex(kind: Any) -> bool:
    """Return whether values of a Python type have sub-attributes."""
    return isclass(kind) and issubclass(kind, ComplexAttribute)


def _is_uri(kind: Any) -> bool:
    return bool({"external", "uri"} & set(getattr(kind, "__reference_types__", ())))
