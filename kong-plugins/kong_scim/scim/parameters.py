"""The parameters of a search or of a response, as a client gives them (RFC 7644 §3.4.2, §3.9)."""

from __future__ import annotations

from typing import Any

from scim2_models import InvalidValueException, Path, Resource
from scim2_server.utils import parametrize

from kong_scim.scim.expressions import lenient_filter
from kong_scim.scim.limits import MAX_ATTRIBUTES

MAX_INDEX = 2**31 - 1
"""Largest startIndex: what lies beyond is an empty page anyway, and databases count in 64 bits."""


def parameter(models: list[type[Resource[Any]]], name: str, value: Any) -> Any:
    """Return a parameter of a search as the models take it."""
    key = name.lower()
    if key == "filter" and isinstance(value, str):
        return lenient_filter(models, value)
    if key == "sortorder" and isinstance(value, str):
        return value.strip().lower()
    if key in ("startindex", "count"):
        return _number(value)
    if key in ("attributes", "excludedattributes"):
        names = _names(name, value)
        return names if key == "excludedattributes" else _with_extensions(models, names)
    return value


def _number(value: Any) -> Any:
    """Return a startIndex or count that a database can take; what is no number is left as it is."""
    text = str(value).strip()
    if isinstance(value, bool) or not text.lstrip("+-").isdecimal():
        return value
    if len(text) > len(str(MAX_INDEX)):
        return 0 if text.startswith("-") else MAX_INDEX
    return max(-1, min(int(text), MAX_INDEX))


def _names(parameter: str, value: Any) -> Any:
    names = value.split(",") if isinstance(value, str) else value
    if isinstance(names, list) and len(names) > MAX_ATTRIBUTES:
        raise InvalidValueException(
            detail=f"{parameter} lists {len(names)} attributes, the limit is {MAX_ATTRIBUTES}"
        )
    return names


def _with_extensions(models: list[type[Resource[Any]]], names: Any) -> Any:
    """Name each attribute of an extension that is asked for as a whole.

    Else what an extension returns on request only would have to be asked for one by one.
    """
    if not isinstance(names, list):
        return names
    extensions = {
        urn.lower(): extension
        for model in models
        for urn, extension in model.get_extension_models().items()
    }
    found: list[Any] = []
    for name in names:
        found.append(name)
        extension = extensions.get(name.strip().lower()) if isinstance(name, str) else None
        if extension is not None:
            found += map(str, parametrize(Path, extension).iter_paths(include_subattributes=False))
    return found
