"""What a plugin and the server tell each other about the event that is being served."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
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

_put_off: ContextVar[Callable[[Callable[[], None], Hashable, bool], None] | None] = ContextVar(
    "put_off", default=None
)
"""How the server of this event runs the rest of it later; None where it cannot."""


def set_put_off(put_off: Callable[[Callable[[], None], Hashable, bool], None]) -> None:
    """Say how the rest of the event at hand is put off; see :func:`later`."""
    _put_off.set(put_off)


def later(rest: Callable[[], None], *, member: Hashable, urgent: bool = False) -> None:
    """Have the rest of the event at hand run once a worker is free for it; return at once.

    No thread waits for that. A plugin calls this when it knows whose request it is, as the last
    thing of the event's method; its class says in ``share`` whose share of the workers its requests
    count against. Another server than ours, which knows nothing of shares, runs the rest now.

    :param member: Who of those that share asks; he too gets a part of the share only.
    :param urgent: Whether it may take a place that is kept for what cannot wait.
    """
    put_off = _put_off.get()
    if put_off is None:
        rest()
    else:
        put_off(rest, member, urgent)
