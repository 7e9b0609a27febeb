"""The wheel has everything that the command line needs beside its packages."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

DESCRIBE = """
from kong_scim.protocol.extensions import schemas_directory
from kong_scim_sandbox.lua.runtime import shipped_directory
print(shipped_directory())
print(schemas_directory())
"""


def files_of(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_an_installed_sandbox_has_the_lua_and_the_schemas_that_ship(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*build, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    described = subprocess.run(
        [sys.executable, "-c", DESCRIBE],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    lua, schemas = map(Path, described.stdout.split())
    assert lua.is_relative_to(installed)
    shipped = ROOT / "kong-plugins/kong/plugins"
    assert files_of(lua / "scim-bridge") == files_of(shipped / "scim-bridge")
    assert (lua / "scim/handler.lua").is_file()
    assert schemas.is_relative_to(installed)
    assert {path.name for path in (ROOT / "schemas").glob("*.json")} <= files_of(schemas)
