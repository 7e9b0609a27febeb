"""What a plugin and the server tell each other about the event that is being served."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from pathlib import Path

_DATA = "KONG_SCIM_DATA"


def data_directory() -> Path | None:
    """Return the directory in which a plugin may store data, or None.

    It is ``--data`` of this server; for another server it comes from the environment.
    """
    named = os.environ.get(_DATA)
    return Path(named) if named else None


def set_data_directory(path: Path) -> None:
    """Set the directory in which a plugin may store data."""
    os.environ[_DATA] = str(path)


request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Kong's id of the request. Once a plugin has set it, every further log line of the event has it,
also that of an uncaught exception. Each event starts without one."""

_first_message: ContextVar[str | None] = ContextVar("first_message", default=None)
"""What Kong sent with the event's name; None in a server that takes only the name."""


def first_message() -> str | None:
    """Return what Kong sent with the event's name: an answer of ``kong.scim.begin``, or "".

    None in another server than ours, which takes nothing with the name.
    """
    return _first_message.get()


def set_first_message(text: str) -> None:
    """Set what Kong sent with the name of this event."""
    _first_message.set(text)


_put_off: ContextVar[Callable[[Callable[[], None], Hashable, bool], None] | None] = ContextVar(
    "put_off", default=None
)
"""The function that runs the rest of this event later; None in a server without one."""


def set_put_off(put_off: Callable[[Callable[[], None], Hashable, bool], None]) -> None:
    """Set the function that :func:`later` calls for this event."""
    _put_off.set(put_off)


def later(rest: Callable[[], None], *, member: Hashable, urgent: bool = False) -> None:
    """Run the rest of this event when a worker is free, and return at once. No thread waits.

    A plugin calls this when it knows the caller, as the last statement of the event's method. Its
    attribute ``share`` names the share of the workers that its requests use. In another server
    than ours, which has no shares, the rest runs now.

    :param rest: The rest of the event.
    :param member: The caller, who may use only a part of the share.
    :param urgent: Whether it may use a worker that is reserved for urgent requests.
    """
    put_off = _put_off.get()
    if put_off is None:
        rest()
    else:
        put_off(rest, member, urgent)
