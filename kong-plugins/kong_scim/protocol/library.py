"""Two things of scim2-models that are put right before any model of it is used."""

from __future__ import annotations

from typing import Any

from scim2_models import reference
from scim2_models.attributes import ExtensibleStringEnum


def put_right() -> None:
    """Have values that are not canonical copied on every Python, and references be relative.

    Python before 3.11.4 copies a member of an enum by its name, which a value such as the type
    ``office`` of an e-mail does not have; this is what Python does since.

    A relative reference is a reference too (RFC 3986 §4.1), which scim2-models takes only where it
    starts with a slash; :mod:`kong_scim.protocol.leniency.values` says what is none.
    """
    ExtensibleStringEnum.__deepcopy__ = _itself  # type: ignore[method-assign,assignment]
    reference._validate_uri = _taken


def _itself(member: ExtensibleStringEnum, _memo: Any) -> ExtensibleStringEnum:
    return member


def _taken(value: str) -> None:
    """Leave a reference as it is."""
