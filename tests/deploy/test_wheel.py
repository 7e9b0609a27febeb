"""The wheel: the same bytes from the same sources, and complete with the packages of each extra."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import httpx
import pytest
from composition import ROOT
from installed import Installed, built

from host_processes import PATIENCE
from hosts import scim_client
from kong_scim.cli.main import _COMMANDS, _EXTRAS
from scim_traffic import new_user

SOURCES = ("LICENSE", "README.md", "kong-plugins", "pyproject.toml", "schemas")
"""What the wheel is made from."""

DESCRIBE = """
from kong_scim.protocol.extensions import schemas_directory
from kong_scim_sandbox.lua.runtime import shipped_directory
print(shipped_directory())
print(schemas_directory())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


def test_two_builds_are_the_same_file(wheel: Path, tmp_path: Path) -> None:
    """The second one elsewhere, with other times and permissions of the files."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(ROOT / name, tmp_path / name)
    for path in tmp_path.rglob("*.py"):
        path.chmod(0o600)
    again = built(tmp_path, tmp_path / "dist")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


@pytest.fixture(scope="module")
def server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The base: the plugin server alone."""
    return Installed(tmp_path_factory.mktemp("server"), wheel)


@pytest.fixture(scope="module")
def cli(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("cli"), wheel, "cli")


@pytest.fixture(scope="module")
def sandbox(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("sandbox"), wheel, "sandbox")


@pytest.fixture(scope="module")
def console(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("console"), wheel, "console")


class TestThePluginServer:
    def test_it_runs(self, server: Installed) -> None:
        assert "--socket" in server.run("kong-scim-plugin-server", "--help").stdout
        [plugin] = json.loads(server.run("kong-scim-plugin-server", "--dump").stdout)
        assert plugin["Name"] == "scim"

    def test_the_command_line_says_which_extra_it_needs(self, server: Installed) -> None:
        done = server.run("kong-scim", "--help")
        assert done.returncode == 1
        assert "pip install 'kong-scim[cli]'" in done.stderr
        assert "Traceback" not in done.stderr


class TestTheCommandLine:
    def test_every_command_but_those_of_another_extra_is_there(self, cli: Installed) -> None:
        listed = cli.run("kong-scim", "--help")
        assert listed.returncode == 0
        for command in _COMMANDS:
            [line] = re.findall(rf"^  {command} .*", listed.stdout, re.MULTILINE)
            assert ("Needs more packages" in line) == (command in _EXTRAS)

    @pytest.mark.parametrize("command", _EXTRAS)
    def test_a_command_of_another_extra_says_which_extra_it_needs(
        self, cli: Installed, command: str
    ) -> None:
        done = cli.run("kong-scim", command, "--port", "0")
        assert done.returncode == 1
        assert f"{command} is not installed. " in done.stderr
        assert f"pip install 'kong-scim[{_EXTRAS[command]}]'" in done.stderr


class TestTheConsole:
    def test_it_is_there_and_the_sandbox_is_not(self, console: Installed) -> None:
        shown = console.run("kong-scim", "console", "--help")
        assert shown.returncode == 0
        assert "--trust-header" in shown.stdout
        assert console.run("kong-scim", "sandbox").returncode == 1

    def test_it_serves_every_file_of_its_page(self, console: Installed) -> None:
        options = ("--port", "0", "--scim-url", "http://127.0.0.1:9/scim/v2", "--token", "t")
        with console.running("kong-scim", "console", *options) as process:
            assert process.stdout is not None
            origin = process.stdout.readline().split()[-1].partition("/#")[0]
            static = ROOT / "kong-plugins/kong_scim/console/static"
            with httpx.Client(base_url=origin, trust_env=False) as client:
                assert client.get("/").content == (static / "index.html").read_bytes()
                for name in files_of(static):
                    served = client.get(f"/static/{name}").raise_for_status()
                    assert served.content == (static / name).read_bytes()


class TestTheSandbox:
    def test_every_command_is_there(self, sandbox: Installed) -> None:
        listed = sandbox.run("kong-scim", "--help")
        assert listed.returncode == 0
        assert "Needs more packages" not in listed.stdout

    def test_it_has_the_lua_and_the_schemas_that_ship(self, sandbox: Installed) -> None:
        lua, schemas = map(Path, sandbox.run("python", "-c", DESCRIBE).stdout.split())
        for place in lua, schemas:
            assert place.is_relative_to(sandbox.bin.parent)
        shipped = ROOT / "kong-plugins/kong/plugins"
        assert files_of(lua / "scim-bridge") == files_of(shipped / "scim-bridge")
        assert (lua / "scim/handler.lua").is_file()
        assert {path.name for path in (ROOT / "schemas").glob("*.json")} <= files_of(schemas)

    def test_it_provisions_a_user(self, sandbox: Installed) -> None:
        options = ("--port", "0", "--admin-port", "0", "--token", "a-token")
        with sandbox.running("kong-scim", "sandbox", *options) as process:
            assert process.stdout is not None
            said = dict(process.stdout.readline().partition(": ")[::2] for _ in range(3))
            with scim_client(said["SCIM base URL"].strip(), "a-token") as client:
                assert new_user(client, "alice")["active"] is True
        assert process.wait(PATIENCE) == 0


def files_of(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
