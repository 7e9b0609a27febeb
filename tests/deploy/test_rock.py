"""The rock of the two Lua plugins: installed and packed by LuaRocks, complete, of this release."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from composition import ROOT

from kong_scim import __version__

LUA = ROOT / "kong-plugins/kong"
(ROCKSPEC,) = (ROOT / "kong-plugins").glob("*.rockspec")

pytestmark = pytest.mark.skipif(
    shutil.which("luarocks") is None, reason="luarocks is not installed (apt-get install luarocks)"
)


def luarocks(*command: str | Path, directory: Path) -> None:
    done = subprocess.run(
        ["luarocks", *map(str, command)],
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def lua_files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.lua")
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of rocks in which ``luarocks make`` has installed the plugins."""
    tree = tmp_path_factory.mktemp("tree")
    luarocks("make", "--tree", tree, ROCKSPEC.name, directory=ROCKSPEC.parent)
    return tree


def test_the_rockspec_is_valid() -> None:
    luarocks("lint", ROCKSPEC.name, directory=ROCKSPEC.parent)


def test_it_is_of_this_release() -> None:
    assert re.findall(r'^version = "(.*)-\d+"$', ROCKSPEC.read_text(), re.MULTILINE) == [
        __version__
    ]
    assert ROCKSPEC.name == f"kong-plugin-scim-{__version__}-1.rockspec"


def test_make_installs_every_file_of_both_plugins(tree: Path) -> None:
    assert lua_files(tree / "share/lua/5.1/kong") == lua_files(LUA)


def test_a_packed_rock_installs_the_same_elsewhere(tree: Path, tmp_path: Path) -> None:
    luarocks("--tree", tree, "pack", "kong-plugin-scim", directory=tmp_path)
    (rock,) = tmp_path.glob("*.rock")
    assert rock.name == ROCKSPEC.name.replace(".rockspec", ".all.rock")
    luarocks("--tree", tmp_path / "other", "install", rock, directory=tmp_path)
    assert lua_files(tmp_path / "other/share/lua/5.1/kong") == lua_files(LUA)
