"""Calls functions in the other processes of this plugin server.

A plugin server may consist of several processes (``--processes``), and each serves a part of the
requests. A module whose state is kept by each process offers a function of its own under a name,
and calls the functions that the other processes offer under the same name.

The plugin server connects the processes. Without others, nothing is called.

The lock of a directory belongs to the plugin server as a whole, so its file is opened before the
processes are started.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_offered: dict[str, Callable[[Any], Any]] = {}
_ask: Callable[[str, Any], list[Any]] | None = None
_locks: dict[Path, int] = {}

LOCK = "lock"
"""The name of a directory's lock file."""


def offer(name: str, function: Callable[[Any], Any]) -> None:
    """Let the other processes call a function of this one.

    :param function: Takes and returns what MsgPack can encode. It must be quick.
    """
    _offered[name] = function


def are_several() -> bool:
    """Tell whether this is one of several processes."""
    return _ask is not None


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


def open_lock(directory: Path) -> int:
    """Open the lock file of a directory, and return its descriptor.

    :raises OSError: When the directory cannot be written.
    """
    return os.open(directory / LOCK, os.O_WRONLY | os.O_CREAT, 0o600)


def share_lock(directory: Path) -> None:
    """Open the lock file of a directory for the processes that are started from now on.

    A lock by ``flock`` belongs to what was opened, so it is one lock of all these processes, and is
    held until the last of them ends.

    :raises OSError: When the directory cannot be written.
    """
    _locks[directory.resolve()] = open_lock(directory)


def shared_lock(directory: Path) -> int | None:
    """Return the descriptor that :func:`share_lock` opened for a directory, or None."""
    return _locks.get(directory.resolve())
