"""Which lines of the shipped Lua were run, by all processes of a test run together.

Where ``KONG_SCIM_LUA_COVERAGE`` names a directory, each process writes a file there as it ends.
LuaJIT calls hooks in interpreted code only, so its compiler is off then.
"""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

VARIABLE = "KONG_SCIM_LUA_COVERAGE"

_WATCH = """
jit.off()
jit.flush()
local seen, names = ...
debug.sethook(function(_, line)
  local source = debug.getinfo(2, "S").source
  if source:sub(1, 25) == "@kong.plugins.scim-bridge" then
    local of = seen[source]
    if not of then
      of = {}
      seen[source] = of
    end
    of[line] = true
  end
end, "l")
return function()
  local out = {}
  for source, lines in pairs(seen) do
    for line in pairs(lines) do
      out[#out + 1] = source:sub(27) .. ":" .. line
    end
  end
  return table.concat(out, " ")
end
"""

_LINES = """
local text, name = ...
local util = require("jit.util")
local found = {}
local function walk(fn)
  local info = util.funcinfo(fn)
  for pc = 1, info.bytecodes - 1 do
    local at = util.funcinfo(fn, pc).currentline
    if at and at > 0 then found[at] = true end
  end
  for i = -1, -1e6, -1 do
    local constant = util.funck(fn, i)
    if constant == nil then break end
    if type(constant) == "proto" then walk(constant) end
  end
end
walk(assert(loadstring(text, name)))
local out = {}
for line in pairs(found) do out[#out + 1] = line end
return table.concat(out, " ")
"""

_seen: list[Any] = []


def watch(lua: Any) -> None:
    """Note which lines a runtime runs, where the environment asks for it."""
    if VARIABLE not in os.environ:
        return
    if not _seen:
        atexit.register(write)
    _seen.append(lua.execute(_WATCH, lua.table()))


def write() -> None:
    """Write what the runtimes of this process have seen."""
    lines = {each for seen in _seen for each in seen().split()}
    path = Path(os.environ[VARIABLE]) / f"{os.getpid()}-{uuid4().hex}.json"
    path.write_text(json.dumps(sorted(lines)))


def table(shipped: Path, seen: Path) -> list[str]:
    """Return a table of the modules: percent, executable lines, and the lines that nobody ran.

    :param shipped: The directory of the modules; those of migrations count for nothing.
    :param seen: Where the processes wrote.
    """
    from lupa import luajit21  # noqa: PLC0415 - only who runs a gateway has it

    lua = luajit21.LuaRuntime(encoding="latin-1")
    run: set[str] = set()
    for path in seen.glob("*.json"):
        run.update(json.loads(path.read_text()))
    rows, all_run, all_lines = [], 0, 0
    for path in sorted(shipped.glob("*.lua")):
        found = lua.execute(_LINES, path.read_text("latin-1"), f"@{path.stem}")
        lines = {int(line) for line in found.split()}
        missed = sorted(line for line in lines if f"{path.stem}:{line}" not in run)
        all_run, all_lines = all_run + len(lines) - len(missed), all_lines + len(lines)
        rows.append(_row(path.stem, len(lines) - len(missed), len(lines), _ranges(missed)))
    return [*rows, _row("all", all_run, all_lines)]


def _row(name: str, run: int, lines: int, missed: str = "") -> str:
    return f"{name:<12} {100 * run / lines:5.1f} % of {lines:4}  {missed}".rstrip()


def _ranges(lines: list[int]) -> str:
    """Return lines such as ``3 5-7``; what lies between two of them may be no code."""
    ranges: list[list[int]] = []
    for line in lines:
        if ranges and line - ranges[-1][1] == 1:
            ranges[-1][1] = line
        else:
            ranges.append([line, line])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
