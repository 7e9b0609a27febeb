"""The functions of Kong that the plugin ``scim`` calls: the log, the answer, and ``kong.scim``.

The plugin uses nothing else of Kong's plugin development kit, because ``kong.scim.begin`` answers
everything about a request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

_log = logging.getLogger("kong")

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warn": logging.WARNING,
    "err": logging.ERROR,
    "crit": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emerg": logging.CRITICAL,
}
"""Levels of Python's log by those of Kong's."""


class Exit(Exception):  # noqa: N818 - control flow, as ngx.exit is in Kong
    """A PDK function ended the request: its RPC message gets no answer, and nothing else runs."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, Any]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


class SandboxPdk:
    """The functions that a plugin may call.

    :param functions: Functions by their names, without those of the log.
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._functions = functions

    def lookup(self, method: str) -> Callable[..., Any] | None:
        """Return the function of a name such as ``kong.log.err``, or None."""
        return self._functions.get(method) or _log_function(method)


def response_exit(status: int, body: Any = None, headers: Mapping[str, Any] | None = None) -> None:
    """End a request (``kong.response.exit``)."""
    raw = body if isinstance(body, bytes) else (body or "").encode("utf-8", "surrogateescape")
    raise Exit(status, raw, headers or {})


def scim_exit(status: int, body: Any, headers: Mapping[str, Any], line: str) -> None:
    """Log a line, and end a request (``kong.scim.exit``)."""
    _write_log(LEVELS["notice"], (line,))
    response_exit(status, body, headers)


def _log_function(method: str) -> Callable[..., Any] | None:
    level = LEVELS.get(method.removeprefix("kong.log."))
    return None if level is None else lambda *parts: _write_log(level, parts)


def _write_log(level: int, parts: tuple[Any, ...]) -> None:
    _log.log(
        level,
        "%s",
        " ".join(p.decode(errors="replace") if isinstance(p, bytes) else str(p) for p in parts),
    )
