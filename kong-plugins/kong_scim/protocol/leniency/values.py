"""Rewrites values of real providers into the type that their attribute declares.

A step before validation: it turns what is plain into what RFC 7643 wants, and leaves the rest for
the models to refuse. A value that has its shape already comes back as it is.
"""

from __future__ import annotations

import re
from typing import Any

from scim2_models import InvalidValueException

from kong_scim.protocol import references
from kong_scim.protocol.attributes import Attribute, Schemas
from kong_scim.protocol.limits import CONTROL, shown

MAX_NAME = 512
"""Characters of a name that the gateway looks up by and shows: longer than any address (RFC 5321:
254), short enough for every index."""

_BOOLEANS = {"true": True, "false": False}
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_BLANK = re.compile(r"\s")
_BESIDE = frozenset({"$ref", "display", "primary", "type"})
"""What stands beside ``value`` in an entry of a list, and says nothing where there is no entry."""


def shaped(schemas: Schemas, attribute: Attribute, value: Any) -> Any:
    """Return a value of an attribute in the shape it declares; None where it says nothing.

    :raises InvalidValueException: When a name is empty, too long or not printable, a boolean is
        none, or a reference is none.
    """
    if value is None:
        return None
    if attribute.multivalued:
        return _list(schemas, attribute, value)
    if isinstance(value, list):
        value = _only(attribute, value)
    return _entry(schemas, attribute, value)


def shaped_entry(schemas: Schemas, attribute: Attribute, value: Any) -> Any:
    """Return one entry of a list in the shape the attribute declares."""
    if isinstance(value, list):
        value = _only(attribute, value)
    return _entry(schemas, attribute, value)


def is_nothing(value: Any) -> bool:
    """Tell whether a value says nothing: it is null, blank or empty."""
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def combined(name: str, one: Any, other: Any) -> Any:
    """Return what an attribute is that a payload gives twice, in two spellings of its name.

    :raises InvalidValueException: When they say different things.
    """
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            **one,
            **{key: combined(f"{name}.{key}", one.get(key), each) for key, each in other.items()},
        }
    if type(one) is type(other) and one == other:
        return one
    raise InvalidValueException(
        detail=f"{name} is given twice, with different values: send it once"
    )


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


def _list(schemas: Schemas, attribute: Attribute, value: Any) -> list[Any]:
    entries = value if isinstance(value, list) else [value]
    result = []
    for entry in entries:
        if entry is None or (isinstance(entry, str) and not entry.strip()):
            continue
        found = _entry(schemas, attribute, entry)
        if found is not None and found != {}:
            result.append(found)
    if entries and not result and attribute.name == "members":  # or everybody would go
        raise InvalidValueException(
            detail="members has no member that could be told: send the id of each, or [] for nobody"
        )
    result = _one_primary(attribute, result)
    same = len(result) == len(entries) and all(map(_is, result, entries))
    return entries if same else result


def _is(one: Any, other: Any) -> bool:
    return one is other


def _one_primary(attribute: Attribute, entries: list[Any]) -> list[Any]:
    """Keep the first of several primary entries primary (RFC 7643 §2.4); Ping sends two."""
    if "primary" not in attribute.parts:
        return entries
    primary = [isinstance(each, dict) and each.get("primary") is True for each in entries]
    if sum(primary) < 2:
        return entries
    first = primary.index(True)
    return [
        {**each, "primary": False} if primary[index] and index != first else each
        for index, each in enumerate(entries)
    ]


def _only(attribute: Attribute, entries: list[Any]) -> Any:
    """Return the value of a single-valued attribute that is sent as a list of one.

    Entra without its compliance flag wraps single values: ``[{"$ref": null, "value": "x"}]``. What
    a resource cannot be without is only read where it is sent so.
    """
    if not entries:
        return None if not attribute.required else entries
    if len(entries) > 1 or (attribute.required and not isinstance(entries[0], dict)):
        return entries
    return entries[0]


def _entry(schemas: Schemas, attribute: Attribute, value: Any) -> Any:
    """Return one value of an attribute in the shape it declares."""
    if attribute.kind == "complex":
        return _complex(schemas, attribute, value)
    if isinstance(value, dict):
        value = _unwrapped(value)
    if attribute.kind == "boolean":
        return _boolean(attribute, value)
    if not isinstance(value, str):
        return value
    if attribute.is_name:
        if not attribute.required and not value.strip():
            return None
        return checked_name(attribute.name, value)
    if attribute.kind != "string" and not value.strip():
        # "" is no date, number or reference; Okta and Entra send it for a value that is not set.
        return None
    if attribute.kind == "link" and _BLANK.search(value.strip()) and not _ABSOLUTE.match(value):
        raise InvalidValueException(
            detail=f"{attribute.name} is {shown(value)}: send a URL, or a relative one without "
            "blanks"
        )
    return references.stored(value) if attribute.kind == "reference" else value


def _unwrapped(value: dict[str, Any]) -> Any:
    """Return the value that an object wraps: ``{"$ref": null, "value": "x"}``."""
    members = {name.lower(): item for name, item in value.items()}
    if "value" in members:
        return members["value"] if members.keys() - {"value"} <= _BESIDE else value
    return None if members.keys() <= _BESIDE and not any(members.values()) else value


def _complex(schemas: Schemas, attribute: Attribute, value: Any) -> Any:
    """Return one complex value; a plain string is its ``value`` sub-attribute.

    Entra sends a manager as a string, and clears one with ""
    (docs/providers/traffic.md#a-manager-as-a-string); smaller providers send roles and members
    as lists of strings.
    """
    if isinstance(value, str):
        if not value.strip():
            return None
        return {"value": value} if "value" in attribute.parts else value
    if not isinstance(value, dict):
        return value
    if attribute.multivalued:
        # Entra adds {"$ref": null} to what it means; in a list null can clear nothing.
        given = {name: item for name, item in value.items() if item is not None}
    else:
        given = value
    entry: dict[str, Any] = {}
    for name, item in given.items():
        part = attribute.parts.get(name.lower()) or _part(schemas, attribute, name)
        if part is None or part.read_only:
            continue
        if part.is_text and type(item) is str and part.name not in entry:
            entry[part.name] = item
            continue
        # What identifies a member is not read as anything else: see _member().
        read = item if attribute.name == "members" else shaped(schemas, part, item)
        entry[part.name] = combined(part.name, entry.get(part.name), read)
    if attribute.name == "members":
        entry = _member(entry)
    elif attribute.name == "manager" and "value" in entry and is_nothing(entry["value"]):
        return None
    same = len(entry) == len(value) and all(entry.get(name, entry) is value[name] for name in value)
    return value if same else entry


def _part(schemas: Schemas, attribute: Attribute, name: str) -> Attribute | None:
    """Return the sub-attribute that a key inside a complex value names.

    :raises InvalidValueException: When the key names an attribute that has its place elsewhere.
    """
    text = name.strip()
    if ":" in text:
        key = schemas.read(text, schemas.urn)
        if key is not None and (key.attribute is not attribute or key.selection is not None):
            raise InvalidValueException(
                detail=f"{shown(name)} stands inside {attribute.name}, and is no part of it: send "
                "it beside it"
            )
        return None if key is None else key.part
    head, dot, rest = text.partition(".")
    if dot and head.lower() == attribute.name.lower():
        text = rest
    return attribute.parts.get(text.lower())


def _member(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies a member: the rest is the directory's to say.

    Okta and Entra put names and types of their own beside the id, which must neither be stored nor
    contradict an immutable sub-attribute when the group is put back
    (docs/providers/traffic.md#members-by-put).
    """
    if "value" not in entry:
        raise InvalidValueException(
            detail="members has an entry without a value: send the id of a user or group"
        )
    if not isinstance(entry["value"], str):
        raise InvalidValueException(
            detail="members has an entry whose value is no string: send the id of a user or group"
        )
    return {"value": entry["value"]}


def _boolean(attribute: Attribute, value: Any) -> Any:
    """Return a boolean; Entra sends "True" and "False", and "" for one not set.

    See docs/providers/traffic.md#booleans-as-strings.
    """
    if isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower(), value) if value.strip() else None
    if value is None or isinstance(value, bool):
        return value
    raise InvalidValueException(detail=f"{attribute.name} is {shown(value)}: send true or false")
