"""Calls functions in the other processes of this plugin server.

A plugin server may consist of several processes (``--processes``), and each serves a part of the
requests. A module whose state is kept by each process offers a function of its own under a name,
and calls the functions that the other processes offer under the same name.

The plugin server connects the processes. Without others, nothing is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_offered: dict[str, Callable[[Any], Any]] = {}
_ask: Callable[[str, Any], list[Any]] | None = None


def offer(name: str, function: Callable[[Any], Any]) -> None:
    """Let the other processes call a function of this one.

    :param function: Takes and returns what MsgPack can encode. It must be quick.
    """
    _offered[name] = function


def ask_others(name: str, argument: Any = None) -> list[Any]:
    """Call a function in each other process, and return the results.

    A process that is being started again, or does not answer in time, has no result.
    """
    return _ask(name, argument) if _ask is not None else []


def answer(name: str, argument: Any) -> Any:
    """Return what the offered function returns, for a process that asks."""
    return _offered[name](argument)


def connect(ask: Callable[[str, Any], list[Any]]) -> None:
    """Set the function with which this process asks the others."""
    global _ask  # noqa: PLW0603 - a process has one connection to the others
    _ask = ask
