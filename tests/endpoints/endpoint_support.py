"""Reads the answers of endpoints that are not SCIM."""

from __future__ import annotations

from typing import Any

import httpx


def answered(answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON of an answer that must be 200."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: httpx.Response, status: int) -> str:
    """Return the sentence of an error with this status."""
    assert answer.status_code == status, answer.text
    detail: str = answer.json()["detail"]
    assert len(detail) > 10
    return detail
