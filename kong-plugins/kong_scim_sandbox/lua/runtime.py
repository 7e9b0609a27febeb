"""One LuaJIT with the shipped scim-bridge in it, behind the stand-ins for Kong and Nginx."""

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
    """Return where the Lua is: beside the package, or within it where a wheel was installed."""
    beside = _PACKAGE.parent / "kong/plugins"
    return beside if beside.is_dir() else _PACKAGE / "_kong"


@functools.cache
def shipped(name: str) -> str | None:
    """Return the text of a module that ships, as octets; None for any other module."""
    if not name.startswith(PREFIX):
        return None
    path = shipped_directory() / f"{name.removeprefix(PREFIX).replace('.', '/')}.lua"
    return path.read_text("latin-1") if path.is_file() else None


@functools.cache
def stand_in(name: str) -> str:
    """Return the text of a stand-in, as octets."""
    return (_HERE / "stand_in" / name).read_text("latin-1")


def octets(text: str) -> str:
    """Return a text as Lua is given it: one character for each octet."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def text_of(given: str) -> str:
    """Return what Lua gave as octets."""
    return given.encode("latin-1").decode("utf-8", "surrogateescape")


class Runtime:
    """A LuaJIT for one thread, as Kong has one for each worker.

    One for each thread and not one behind a lock: a commit waits for its turn, and what waits in a
    call of Lua would hold up every other request.

    :param host: Functions that the stand-ins call, by their names; they take and answer octets.
    """

    def __init__(self, host: Mapping[str, Callable[..., Any]]) -> None:
        from lupa import luajit21  # noqa: PLC0415 - only who runs a gateway has it

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
        """Call a function of ``start.lua``; an argument that is a mapping becomes a table."""
        given = [self._table(each) if isinstance(each, Mapping) else each for each in arguments]
        return self._functions[name](*given)

    def execute(self, text: str) -> Any:
        """Run a text of Lua, and return what it returns."""
        return self._lua.execute(text)

    def _table(self, values: Mapping[str, Any]) -> Any:
        kept = {name: value for name, value in values.items() if value is not None}
        return self._lua.table_from(kept, recursive=True)
