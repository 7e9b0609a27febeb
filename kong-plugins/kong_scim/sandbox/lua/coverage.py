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
