"""Runs the shipped scim-bridge in one LuaJIT, with stand-ins for Kong and Nginx."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kong_scim_sandbox.lua import coverage

PREFIX = "kong.plugins."

_HERE = Path(__file__).resolve().parent
_PACKAGE = _HERE.parent


def shipped_directory() -> Path:
    """Return the directory of the Lua: beside the package, or in it if a wheel was installed."""
    beside = _PACKAGE.parent / "kong/plugins"
    return beside if beside.is_dir() else _PACKAGE / "_kong"


@functools.cache
def shipped(name: str) -> str | None:
    """Return the text of a module that ships as octets, or None for any other module."""
    if not name.startswith(PREFIX):
        return None
    path = shipped_directory() / f"{name.removeprefix(PREFIX).replace('.', '/')}.lua"
    return coverage.marked(path) if path.is_file() else None


@functools.cache
def stand_in(name: str) -> str:
    """Return the text of a stand-in as octets."""
    return (_HERE / "stand_in" / name).read_text("latin-1")


def octets(text: str) -> str:
    """Return a text as octets for Lua: one character for each octet of its UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def text_of(raw: str) -> str:
    """Return the text of octets that came from Lua."""
    return raw.encode("latin-1").decode("utf-8", "surrogateescape")


class Runtime:
    """A LuaJIT for one thread, as Kong has one for each worker.

    Threads do not share one behind a lock, because a commit waits for its turn within a call of
    Lua, and would block every other request.

    :param host: Functions that the stand-ins call, by their names. They take and return octets.
    """

    def __init__(self, host: Mapping[str, Callable[..., Any]]) -> None:
        from lupa import luajit21  # noqa: PLC0415 - only installed with the sandbox

        self._lua = luajit21.LuaRuntime(
            encoding="latin-1",
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
        )
        coverage.watch(self._lua)
        functions = {"shipped": shipped, "stand_in": stand_in, **host}
        begin = self._lua.eval("loadstring")(stand_in("start.lua"), "=start.lua")
        self._functions = begin(self._table(functions))

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of ``start.lua``. An argument that is a mapping becomes a table."""
        values = [self._table(each) if isinstance(each, Mapping) else each for each in arguments]
        return self._functions[name](*values)

    def execute(self, text: str) -> Any:
        """Run a text of Lua, and return its result."""
        return self._lua.execute(text)

    def _table(self, values: Mapping[str, Any]) -> Any:
        kept = {name: value for name, value in values.items() if value is not None}
        return self._lua.table_from(kept, recursive=True)
