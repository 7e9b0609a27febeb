"""Takes secrets out of what the provider log keeps of a request that failed."""

from __future__ import annotations

import json
from typing import Any

LONGEST_BODY = 4096
"""The most characters of a body that are kept."""

_MOST_READ = 65_536
"""The most bytes of a body that are searched for passwords. Of a longer one nothing is kept."""

_HIDDEN = "***"

_SECRET_KEYS = ("password", "token", "secret", "authorization")
"""What the name of a key or of a path has in it if its value is a secret."""


def shown_body(body: bytes) -> str:
    """Return a body without passwords, and cut; empty for one that cannot be searched for them."""
    if not body or len(body) > _MOST_READ:
        return ""
    try:
        return json.dumps(_without_secrets(json.loads(body)), ensure_ascii=False)[:LONGEST_BODY]
    except (ValueError, RecursionError):
        text = body.decode(errors="replace")
        # It is no JSON, so that nobody can tell where a value ends.
        return "" if _names_a_secret(text) else text[:LONGEST_BODY]


def without(text: str, authorization: str) -> str:
    """Return a text in which the credentials of a request are replaced, wherever they stand."""
    credentials = authorization.rsplit(" ", maxsplit=1)[-1]
    return text.replace(credentials, _HIDDEN) if len(credentials) >= 8 else text


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    if not isinstance(value, dict):
        return value
    path = next((item for key, item in value.items() if key.lower() == "path"), None)
    hides_value = isinstance(path, str) and _names_a_secret(path)
    return {
        key: _HIDDEN
        if _names_a_secret(key) or (hides_value and key.lower() == "value")
        else _without_secrets(item)
        for key, item in value.items()
    }


def _names_a_secret(text: str) -> bool:
    lower = text.lower()
    return any(each in lower for each in _SECRET_KEYS)
