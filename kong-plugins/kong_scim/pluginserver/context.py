"""What a plugin may tell the server about the event it is serving."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Kong's id of the request. Once a plugin has set it, every log line of the event carries it, that
of an exception the plugin let through included. Each event starts without one."""
