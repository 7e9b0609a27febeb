"""Reads Kong's ``env`` vault: ``{vault://env/scim-token}`` is the variable ``SCIM_TOKEN``."""

from __future__ import annotations

import json
import os
import re
from typing import Any

_REFERENCE = re.compile(r"^\{vault://env/([^/?#{}]+)(?:/([^?#{}]+))?\}$")


def is_reference(value: Any) -> bool:
    """Whether Kong would take the value for a reference (``kong/pdk/vault.lua``, is_reference)."""
    return isinstance(value, str) and value.startswith("{vault://") and value.endswith("}")


def variable(reference: str) -> str | None:
    """Return the environment variable that a reference stands for, or None if it is for none."""
    match = _REFERENCE.match(reference)
    return match[1].replace("-", "_").upper() if match else None


def get(reference: str) -> str | None:
    """Return the value of a reference at this moment, or None where the vault has none.

    ``{vault://env/name/key}`` is one field of an environment variable that holds a JSON object.
    """
    match = _REFERENCE.match(reference)
    value = os.environ.get(variable(reference) or "") if match else None
    if match is None or value is None or match[2] is None:
        return value
    try:
        field = json.loads(value).get(match[2])
    except (ValueError, AttributeError):
        return None
    return field if isinstance(field, str) else None


def resolved(value: Any) -> Any:
    """Return a plugin's config with references replaced by their values, and kept in ``$refs``.

    A reference without a value becomes an empty string, as in Kong.
    """
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if not isinstance(value, dict):
        return value
    references = {key: item for key, item in value.items() if is_reference(item)}
    answer = {
        key: get(item) or "" if key in references else resolved(item) for key, item in value.items()
    }
    return answer | {"$refs": references} if references else answer
