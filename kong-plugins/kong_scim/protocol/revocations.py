"""Recognises requests that take somebody's access away, since these must not wait behind others.

This follows from the method, the path and a look into a small body, before anything of it is
validated: it decides where a request waits, and nothing else.
"""

from __future__ import annotations

import json
from typing import Any

MAX_BODY = 16 * 1024
"""In bytes: a larger body is no deactivation that a provider sends, and could cost too much."""

MAX_OPERATIONS = 16
"""Of a PATCH, or of a Bulk request: so much work a place that is kept for revocations may do."""


def is_revocation(method: str, path: str, body: bytes) -> bool:
    """Tell whether a request deletes a user or group, or deactivates a user.

    :param path: Below the base URL, percent-encoded.
    """
    if method == "DELETE":
        return _kind(path) in {"users", "groups"}
    if method not in {"PATCH", "PUT", "POST"} or len(body) > MAX_BODY:
        return False
    if b"active" not in body.lower() and b"DELETE" not in body.upper():
        return False
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):  # refused elsewhere, with a sentence
        return False
    return _revokes(method, path, payload)


def _revokes(method: str, path: str, payload: Any) -> bool:
    if method == "DELETE":
        return _kind(path) in {"users", "groups"}
    if not isinstance(payload, dict):
        return False
    members = {name.lower(): value for name, value in payload.items()}
    operations = members.get("operations")
    if method == "POST" and path.strip("/").lower() == "bulk":
        return all(map(_revokes_in_bulk, _few(operations) or [None]))
    if _kind(path) != "users":
        return False
    if method == "PATCH":
        return any(map(_deactivates, _few(operations)))
    return method == "PUT" and _holds_inactive(payload)


def _revokes_in_bulk(operation: Any) -> bool:
    if not isinstance(operation, dict):
        return False
    members = {name.lower(): value for name, value in operation.items()}
    method, path = str(members.get("method")).upper(), str(members.get("path"))
    return path.strip("/").lower() != "bulk" and _revokes(method, path, members.get("data"))


def _few(operations: Any) -> list[Any]:
    """Return the operations, or none where they are too many."""
    short = isinstance(operations, list) and len(operations) <= MAX_OPERATIONS
    return operations if short else []


def _deactivates(operation: Any) -> bool:
    if not isinstance(operation, dict):
        return False
    members = {name.lower(): value for name, value in operation.items()}
    value = members.get("value")
    if _is_active(str(members.get("path"))):
        return not _is_true(value)
    return isinstance(value, dict) and _holds_inactive(value)


def _holds_inactive(attributes: dict[str, Any]) -> bool:
    return any(_is_active(name) and not _is_true(value) for name, value in attributes.items())


def _is_active(name: str) -> bool:
    """Tell whether a key or path is that of ``active``, with its schema's URN or without."""
    return name.strip().lower().rpartition(":")[2] == "active"


def _is_true(value: Any) -> bool:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("value")
    return value is True or str(value).strip().lower() == "true"


def _kind(path: str) -> str:
    """Return the endpoint of a path that names one resource, in lower case; else nothing."""
    endpoint, _, identifier = path.strip("/").partition("/")
    return endpoint.lower() if identifier and not identifier.startswith(".") else ""
