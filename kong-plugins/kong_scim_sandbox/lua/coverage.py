"""Measures which statements of the shipped Lua all processes of a test run have run.

If ``KONG_SCIM_LUA_COVERAGE`` names a directory, each statement at the beginning of a line is loaded
with a mark in front of it, and each process writes a file into the directory when it ends. A debug
hook would make every line several times as slow, and would need LuaJIT's compiler to be off.
"""

from __future__ import annotations

import atexit
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

VARIABLE = "KONG_SCIM_LUA_COVERAGE"

_WATCH = """
local seen = {}
function _SEEN(name)
  seen[name] = seen[name] or {}
  return seen[name]
end
return function()
  local out = {}
  for name, lines in pairs(seen) do
    for line in pairs(lines) do out[#out + 1] = name .. ":" .. line end
  end
  return table.concat(out, " ")
end
"""

_NO_STATEMENT = re.compile(r"\s*(--|(else|elseif|end|until)\b|[)}\]]|$)")
_LONG_STRING = re.compile(r"\[\[|\]\]")
_MARK = re.compile(r"_C\[(\d+)\]=1;")

_seen: list[Any] = []


def watch(lua: Any) -> None:
    """Have a runtime record the marks that it passes, if coverage is measured."""
    if VARIABLE not in os.environ:
        return
    if not _seen:
        atexit.register(write)
    _seen.append(lua.execute(_WATCH))


def write() -> None:
    """Write the marks that the runtimes of this process have passed to a file."""
    lines = {each for seen in _seen for each in seen().split()}
    path = Path(os.environ[VARIABLE]) / f"{os.getpid()}-{uuid4().hex}.json"
    path.write_text(json.dumps(sorted(lines)))


def marked(path: Path) -> str:
    """Return the text of a module, with marks if coverage is measured."""
    text = path.read_text("latin-1")
    if VARIABLE not in os.environ:
        return text
    kept = Path(os.environ[VARIABLE]) / f"{path.parent.name}-{path.name}"
    if not kept.exists():
        new = kept.with_suffix(f".{uuid4().hex}")
        new.write_text(_with_marks(text, path.stem), "latin-1")
        new.replace(kept)
    return kept.read_text("latin-1")


def _with_marks(text: str, name: str) -> str:
    """Put a mark before each line where the text still compiles, so not within a statement."""
    from lupa import luajit21  # noqa: PLC0415 - only installed with the sandbox

    compiled = luajit21.LuaRuntime(encoding="latin-1").eval(
        "function(text) return loadstring(text) ~= nil end"
    )
    lines = text.split("\n")
    for index in _beginnings(lines):
        line = lines[index]
        lines[index] = f"_C[{index + 1}]=1;{line}"
        if not compiled("\n".join(lines)):
            lines[index] = line
    return f'local _C=_SEEN"{name}";' + "\n".join(lines)


def _beginnings(lines: list[str]) -> Iterator[int]:
    """Yield the indexes of lines that may begin with a statement."""
    in_string = False
    for index, line in enumerate(lines):
        if not in_string and not _NO_STATEMENT.match(line):
            yield index
        if not line.lstrip().startswith("--"):
            for found in _LONG_STRING.findall(line):
                in_string = found == "[["


def table(shipped: Path, seen: Path) -> list[str]:
    """Return a table of the modules: percent, statements, and the lines that were not run.

    :param shipped: The directory of the modules. Its subdirectory of migrations is left out.
    :param seen: The directory with the files of the processes.
    """
    run: set[str] = set()
    for path in seen.glob("*.json"):
        run.update(json.loads(path.read_text()))
    rows, all_run, all_lines = [], 0, 0
    for path in sorted(shipped.glob("*.lua")):
        lines = sorted(map(int, _MARK.findall(marked(path))))
        missed = [line for line in lines if f"{path.stem}:{line}" not in run]
        all_run, all_lines = all_run + len(lines) - len(missed), all_lines + len(lines)
        rows.append(_row(path.stem, len(lines) - len(missed), len(lines), _ranges(missed)))
    return [*rows, _row("all", all_run, all_lines)]


def _row(name: str, run: int, lines: int, missed: str = "") -> str:
    return f"{name:<14} {100 * run / lines:5.1f} % of {lines:4}  {missed}".rstrip()


def _ranges(lines: list[int]) -> str:
    """Return line numbers as text, such as ``3 5-7``."""
    ranges: list[list[int]] = []
    for line in lines:
        if ranges and line - ranges[-1][1] == 1:
            ranges[-1][1] = line
        else:
            ranges.append([line, line])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
