"""What a plugin may tell the server about the event it is serving, and what the server tells it."""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path

_DATA = "KONG_SCIM_DATA"


def data_directory() -> Path | None:
    """Return where a plugin may keep what lasts, or None: ``--data`` of this server, or the
    environment of another one."""
    named = os.environ.get(_DATA)
    return Path(named) if named else None


def set_data_directory(path: Path) -> None:
    """Say where a plugin may keep what lasts."""
    os.environ[_DATA] = str(path)


request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Kong's id of the request. Once a plugin has set it, every log line of the event carries it, that
of an exception the plugin let through included. Each event starts without one."""
