"""Reads the parameters of a search or of a response (RFC 7644 §3.4.2, §3.9)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from scim2_models import (
    InvalidFilterException,
    InvalidPathException,
    InvalidValueException,
    Path,
    Resource,
)
from scim2_models.path import AttrPath, ValuePath
from scim2_server.utils import parametrize

from kong_scim.protocol.leniency.filters import lenient_filter, lenient_path
from kong_scim.protocol.limits import MAX_ATTRIBUTES, check_path, shown

_LISTED = re.compile(r"""(?:[^,"\[]|"(?:[^"\\]|\\.)*"?|\[(?:[^\]"]|"(?:[^"\\]|\\.)*"?)*\]?)+""")
"""An item of a comma-separated list. Commas in a filter's brackets or in quotes do not count."""

MAX_INDEX = 2**31 - 1
"""Largest startIndex and count. A larger number would find nothing more, and may be too large for a
database."""


Models = list[type[Resource[Any]]]


@dataclass(frozen=True)
class Choice:
    """Entries of a list that a client includes or excludes, such as ``emails[type eq "work"]``.

    :param of: The path of the list.
    :param entries: The path of the entries, without a sub-attribute.
    :param part: The sub-attribute of the entries that is meant; None for whole entries.
    :param wanted: Whether the entries are included (and others left out), or excluded.
    """

    of: str
    entries: str
    part: str | None
    wanted: bool


_CHOICES: ContextVar[tuple[Choice, ...]] = ContextVar("choices", default=())


@contextmanager
def choosing() -> Iterator[None]:
    """Begin a request without choices, which are added when its parameters are read."""
    token = _CHOICES.set(())
    try:
        yield
    finally:
        _CHOICES.reset(token)


def has_choices() -> bool:
    """Tell whether this request's parameters choose among the entries of a list."""
    return bool(_CHOICES.get())


def choose(resource: Resource[Any]) -> None:
    """Remove from a resource the entries that this request's parameters leave out."""
    choices = _CHOICES.get()
    for name in dict.fromkeys(choice.of for choice in choices if choice.wanted):
        kept = [
            entry
            for choice in choices
            if choice.of == name and choice.wanted
            for entry in _entries(resource, choice.entries)
        ]
        every = _entries(resource, name)
        _put(resource, name, [entry for entry in every if any(entry is each for each in kept)])
    for choice in choices:
        if choice.wanted:
            continue
        left_out = _entries(resource, choice.entries)
        if choice.part is None:
            rest = [
                entry
                for entry in _entries(resource, choice.of)
                if not any(entry is each for each in left_out)
            ]
            _put(resource, choice.of, rest)
        elif left_out:
            Path(f"{choice.entries}.{choice.part}").delete(resource, strict=False)


def _entries(resource: Resource[Any], path: str) -> list[Any]:
    found = Path(path).get(resource, strict=False)
    return found if isinstance(found, list) else []


def _put(resource: Resource[Any], name: str, entries: list[Any]) -> None:
    Path(name).set(resource, entries or None, strict=False)


def parameter(models: Models, name: str, value: Any) -> Any:
    """Return the value of a search parameter in the form that the models take."""
    key = name.lower()
    if key == "filter":
        if not isinstance(value, str):
            raise InvalidFilterException(
                detail=f"filter is {shown(value)}: send a string such as "
                '"userName eq \\"bjensen\\""'
            )
        return lenient_filter(models, value)
    if key == "sortby" and isinstance(value, str) and value.strip().lower() == "meta.location":
        if len(models) > 1:
            raise InvalidPathException(
                detail="sortBy meta.location: search at one endpoint, such as /Users, or sort by id"
            )
        return "id"  # locations at one endpoint differ only in the id at their end
    if key == "sortorder" and isinstance(value, str):
        return value.strip().lower()
    if key in ("startindex", "count"):
        return _number(value)
    if key in ("attributes", "excludedattributes"):
        wanted = key == "attributes"
        names = _without_filters(models, _names(name, value), wanted=wanted)
        return _with_extensions(models, names) if wanted else names
    return value


def refuse_both(parameters: Mapping[str, Any]) -> None:
    """Refuse a request with both ``attributes`` and ``excludedAttributes``.

    :raises InvalidValueException: When it has both.
    """
    present = {name.lower() for name, value in parameters.items() if value}
    if {"attributes", "excludedattributes"} <= present:
        raise InvalidValueException(
            detail="Send attributes or excludedAttributes, not both (RFC 7644 §3.9)"
        )


def _number(value: Any) -> Any:
    """Return a startIndex or count within bounds; a value that is no number is not changed."""
    text = str(value).strip()
    if isinstance(value, bool) or not text.lstrip("+-").isdecimal():
        return value
    if len(text) > len(str(MAX_INDEX)):
        return 0 if text.startswith("-") else MAX_INDEX
    return max(-1, min(int(text), MAX_INDEX))


def _names(parameter: str, value: Any) -> Any:
    """Return the names in a parameter, without blanks around them and without empty names."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise InvalidValueException(
            detail=f"{parameter} is {shown(value)}: send the names of attributes"
        )
    names = [name for each in listed for name in _split(each)]
    if len(names) > MAX_ATTRIBUTES:
        raise InvalidValueException(
            detail=f"{parameter} lists {len(names)} attributes, the limit is {MAX_ATTRIBUTES}"
        )
    return names


def _split(text: str) -> list[str]:
    """Split a text at commas, except those within a value filter."""
    return [name for name in (part.strip() for part in _LISTED.findall(text)) if name]


def _without_filters(models: Models, names: list[str], *, wanted: bool) -> list[str]:
    """Return the names without their value filters, and add the filters to the request's choices.

    :raises InvalidPathException: For a name that is no attribute, with or without a filter.
    :raises InvalidFilterException: When a filter does not fit its attribute.
    """
    choices = []
    plain = []
    for name in names:
        if not {"[", " "} & set(name):
            plain.append(name)
            continue
        choice = _choice(models, name, wanted=wanted)
        if choice is None:
            plain.append(name.partition("[")[0])
        else:
            choices.append(choice)
    # If the whole list is named too, it is returned whole.
    whole = {name.lower() for name in plain}
    choices = [choice for choice in choices if not wanted or choice.of.lower() not in whole]
    _CHOICES.set((*_CHOICES.get(), *choices))
    if not wanted:
        return plain
    return plain + [f"{each.of}.{each.part}" if each.part else each.of for each in choices]


def _choice(models: Models, name: str, *, wanted: bool) -> Choice | None:
    """Return the choice of a name with a value filter; None if no model has the attribute."""
    check_path(name)
    for model in models:
        node = Path(lenient_path(model, name)).ast if "[" in name else None
        if not isinstance(node, ValuePath):
            raise InvalidPathException(
                detail=f"{shown(name)} is no attribute: send a name such as emails, emails.value "
                'or emails[type eq "work"]'
            )
        whole = AttrPath(node.attr_path.attr, None, node.attr_path.uri)
        entries = ValuePath(whole, node.val_filter)
        binding = Path(str(whole)).resolve(model)
        if binding is None:
            continue
        if not binding.is_multivalued:
            raise InvalidPathException(
                detail=f"{whole} has one value and not a list of them: send {whole} without a "
                "filter"
            )
        parametrize(Path, model)(str(entries)).get(model.model_construct())
        return Choice(str(whole), str(entries), node.sub_attr, wanted)
    return None


def _with_extensions(models: Models, names: list[str]) -> list[str]:
    """Add to an extension's name the names of all its attributes.

    Otherwise attributes that are returned only on request would have to be named one by one.
    """
    extensions = {
        urn.lower(): extension
        for model in models
        for urn, extension in model.get_extension_models().items()
    }
    found: list[str] = []
    for name in names:
        found.append(name)
        extension = extensions.get(name.lower())
        if extension is not None:
            found += map(str, parametrize(Path, extension).iter_paths(include_subattributes=False))
    return found
