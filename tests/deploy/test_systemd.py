"""The systemd units: valid, hardened, and their commands run as they are."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from composition import DBLESS, POSTGRES, ROOT
from image import environment

UNITS = ROOT / "kong-plugins/systemd"
SERVICE = UNITS / "kong-scim.service"
DROP_IN = UNITS / "kong.conf"

VENV = "/opt/kong-scim/venv"

EXPOSURE = 1.5
"""Of ten: what `systemd-analyze security` may find. Most of it is the network, for webhooks."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


def settings(unit: Path) -> dict[str, list[str]]:
    """The values of each setting of a unit."""
    found = defaultdict(list)
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name].append(value)
    return found


@pytest.fixture
def here() -> Iterator[Path]:
    """A directory with the unit in it, and what the unit names in places of the directory.

    Its path is short, because a path of a socket has 107 bytes at most.
    """
    with tempfile.TemporaryDirectory(prefix="unit-") as directory:
        root = Path(directory)
        program = root / "venv/bin/kong-scim-plugin-server"
        program.parent.mkdir(parents=True)
        program.write_text('#!/bin/sh\nexec python -m kong_scim.pluginserver "$@"\n')
        program.chmod(0o755)
        for name in ("run", "state"):
            (root / name / "kong-scim").mkdir(parents=True)
        text = SERVICE.read_text().replace(VENV, str(root / "venv"))
        (root / SERVICE.name).write_text(text)
        yield root


@needs_systemd
class TestSystemd:
    def analyze(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemd-analyze", "--no-pager", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_the_unit_is_valid(self, here: Path) -> None:
        done = self.analyze("verify", "--recursive-errors=no", here / SERVICE.name)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_misspelt_setting_would_be_seen(self, here: Path) -> None:
        unit = here / SERVICE.name
        unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHomes="))
        assert "ProtectHomes" in self.analyze("verify", "--recursive-errors=no", unit).stderr

    def test_it_is_hardened(self, here: Path) -> None:
        limit = str(round(EXPOSURE * 10))  # of a hundred
        done = self.analyze(
            "security", "--offline=yes", f"--threshold={limit}", here / SERVICE.name
        )
        assert done.returncode == 0, done.stdout

    def test_its_user_and_kongs_group_are_made(self) -> None:
        done = subprocess.run(
            ["systemd-sysusers", "--dry-run", UNITS / "kong-scim.sysusers"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("name", ["fchmod", "sendmsg", "mmap", "fdatasync", "flock"])
    def test_what_the_plugin_server_calls_is_allowed(self, name: str) -> None:
        allowed, taken_back = settings(SERVICE)["SystemCallFilter"]
        assert name in self.system_calls(allowed)
        for group in taken_back.removeprefix("~").split():
            assert name not in self.system_calls(group)

    def system_calls(self, group: str) -> set[str]:
        lines = self.analyze("syscall-filter", group).stdout.splitlines()[1:]
        names = {line.strip() for line in lines}
        return names.union(*(self.system_calls(name) for name in names if name.startswith("@")))


def test_its_commands_serve_where_kong_looks(here: Path) -> None:
    unit = settings(here / SERVICE.name)
    bin_ = os.fspath(here / "venv/bin")
    env = environment(ROOT / "kong-plugins", KONG_SCIM_DATA=f"{here}/state/kong-scim")
    env["PATH"] = f"{bin_}:{env['PATH']}"

    def command(line: str) -> list[str]:
        return shlex.split(line.replace("%t", f"{here}/run"))

    mask, run = int(unit["UMask"][0], 8), here / "run/kong-scim"
    for line in unit["ExecStartPre"]:
        subprocess.run(command(line), env=env, umask=mask, check=True, timeout=60)
    [plugin] = json.loads((run / "scim.json").read_text())
    assert plugin["Name"] == "scim"
    assert stat.S_IMODE((run / "scim.json").stat().st_mode) == 0o640
    start = command(unit["ExecStart"][0])
    with subprocess.Popen(start, env=env, umask=mask, cwd="/") as process:
        try:
            for line in unit["ExecStartPost"]:
                subprocess.run(command(line), env=env, check=True, timeout=60)
            assert stat.S_IMODE((run / "scim.socket").stat().st_mode) == 0o660
        finally:
            process.terminate()
        assert process.wait(30) == 0


def test_kong_is_told_what_the_compose_files_tell_it() -> None:
    service = settings(DROP_IN)
    told = dict(value.strip('"').split("=", 1) for value in service["Environment"])
    for composition in POSTGRES, DBLESS:
        of_compose = composition.kong_environment("kong")
        assert told == {name: of_compose[name] for name in told}
        assert {name for name in of_compose if "PLUGIN" in name} == set(told)


def test_the_socket_is_open_to_kongs_workers() -> None:
    lines = (UNITS / "kong-scim.sysusers").read_text().splitlines()
    assert "m kong kong-scim" in lines
    unit = settings(SERVICE)
    assert unit["User"] == unit["Group"] == ["kong-scim"]
    assert unit["RuntimeDirectoryMode"] == ["0750"]


def test_it_may_have_as_many_threads_as_a_container() -> None:
    [tasks] = settings(SERVICE)["TasksMax"]
    assert int(tasks) == POSTGRES.services["plugin-server"]["pids_limit"]
