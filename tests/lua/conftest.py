"""Nodes of both shapes, that run the shipped Lua in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lua_node import LuaNode


@pytest.fixture(params=["database", "memory"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LuaNode]:
    """A node with a database, and one without."""
    made = LuaNode(tmp_path / "kong.sqlite", dbless=request.param == "memory")
    yield made
    made.store.close()


@pytest.fixture
def database_node(tmp_path: Path) -> Iterator[LuaNode]:
    made = LuaNode(tmp_path / "kong.sqlite", dbless=False)
    yield made
    made.store.close()


@pytest.fixture
def memory_node(tmp_path: Path) -> Iterator[LuaNode]:
    made = LuaNode(tmp_path / "kong.sqlite", dbless=True)
    yield made
    made.store.close()
