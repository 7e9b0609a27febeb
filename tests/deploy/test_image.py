"""The plugin server's image, without Docker: its files laid out, its command run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from composition import ROOT
from image import environment, started

PACKAGES = "opt/kong-scim"
"""Where the image has its Python packages."""

DOCKERFILE = ROOT / "kong-plugins/Dockerfile"


def copied() -> list[tuple[str, str]]:
    """What the image takes from the repository, and where to."""
    return re.findall(r"^COPY (\S+) (/\S+)$", DOCKERFILE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's files, under a directory that stands for its root."""
    root = tmp_path_factory.mktemp("image")
    for source, target in copied():
        place = root / target.lstrip("/")
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            if target.endswith("/"):
                place /= Path(source).name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, place)
    return root


@pytest.fixture(scope="module")
def description(image: Path) -> Path:
    """What the Dockerfile's RUN leaves for Kong."""
    done = subprocess.run(
        [sys.executable, "-m", "kong_scim.pluginserver", "--dump"],
        env=environment(image / PACKAGES),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    path = image / "opt/kong-scim/scim.json"
    path.write_text(done.stdout)
    return path


def test_everything_it_copies_is_there_and_not_ignored() -> None:
    """The .dockerignore ignores all, then takes back what is named."""
    lines = (ROOT / "kong-plugins/Dockerfile.dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    taken_back = [line.removeprefix("!") for line in lines if line.startswith("!")]
    for source, _ in copied():
        path = ROOT / source
        assert path.exists()
        names = [source] if path.is_file() else [source, f"{source}/{next(path.iterdir()).name}"]
        assert any(fnmatch(name, pattern) for name in names for pattern in taken_back)


def test_it_describes_the_plugin_to_kong(description: Path) -> None:
    [plugin] = json.loads(description.read_text())
    assert plugin["Name"] == "scim"
    assert plugin["Phases"] == ["access"]


def test_it_has_the_schema_files(image: Path) -> None:
    names = {path.name for path in (ROOT / "schemas").glob("*.json")}
    assert names <= {path.name for path in (image / "opt/kong-scim/kong_scim/_schemas").iterdir()}


def test_its_command_serves_where_kong_looks(
    image: Path, description: Path, tmp_path: Path
) -> None:
    command = image / "usr/local/bin/start-plugin-server"
    with started(command, image / PACKAGES, description, tmp_path) as process:
        assert (tmp_path / "scim.json").read_text() == description.read_text()
        assert stat.S_IMODE(os.stat(tmp_path / "scim.socket").st_mode) == 0o660
        healthy = subprocess.run(
            health_command(),
            shell=True,
            env=environment(image / PACKAGES, SOCKET_DIRECTORY=str(tmp_path)),
            cwd="/",
            timeout=30,
            check=False,
        )
        assert healthy.returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert not (tmp_path / "scim.socket").exists()


def test_it_does_not_start_with_a_store_that_it_cannot_write(
    image: Path, description: Path, tmp_path: Path
) -> None:
    """Told at once, and not by the first request."""
    (tmp_path / "a file").touch()
    done = subprocess.run(
        [str(image / "usr/local/bin/start-plugin-server"), str(description)],
        env=environment(
            image / PACKAGES,
            SOCKET_DIRECTORY=str(tmp_path),
            KONG_SCIM_DATA=str(tmp_path / "a file" / "in it"),
        ),
        cwd="/",
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"--data {tmp_path}/a file/in it cannot be written" in done.stderr


def test_its_health_check_sees_that_nothing_serves(image: Path, tmp_path: Path) -> None:
    sick = subprocess.run(
        health_command(),
        shell=True,
        env=environment(image / PACKAGES, SOCKET_DIRECTORY=str(tmp_path)),
        cwd="/",
        stderr=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    assert sick.returncode != 0


def health_command() -> str:
    """The Dockerfile's HEALTHCHECK, as Docker gives it to a shell."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    [command] = re.findall(r"^HEALTHCHECK .* CMD (.*)$", text, re.MULTILINE)
    return command


LOCKS = {
    "requirements.lock": (),
    "requirements-dev.lock": ("cli", "sandbox", "dev"),
    "requirements-bench.lock": ("cli", "sandbox", "dev", "bench"),
}
"""What the image and what `make` install, and the extras of the project in it."""


def locked(name: str) -> list[str]:
    """The entries of a lock file, each with its hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text())
    return [entry for entry in entries if entry.strip() and not entry.startswith("#")]


def versions(name: str) -> set[str]:
    """What a lock file pins, as ``name==version``."""
    return {entry.split()[0] for entry in locked(name)}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_is_that_of_the_project(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in LOCKS[lock]:
        wanted += project["optional-dependencies"][extra]
    assert len(wanted) > 5
    for requirement in set(wanted) - {"kong-scim[cli]", "kong-scim[console]"}:
        name, version = requirement.partition(";")[0].split("==")
        pinned = f"{name.partition('[')[0].lower()}=={version.strip()}"
        assert pinned in versions(lock)


def test_the_tests_run_with_what_the_image_has() -> None:
    assert versions("requirements.lock") <= versions("requirements-dev.lock")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_the_lock_has_a_hash(lock: str) -> None:
    for entry in locked(lock):
        assert "--hash=sha256:" in entry


def test_nothing_is_installed_but_what_a_lock_names() -> None:
    """Neither by the image nor by `make`, which CI runs; and nothing builds with anything else."""
    for file in (DOCKERFILE, ROOT / "Makefile"):
        commands = re.findall(r"pip install .*", file.read_text().replace("\\\n", " "))
        assert any("--require-hashes" in command for command in commands)
        for command in commands:
            ours = "--no-build-isolation --no-deps --editable ." in command
            assert "--require-hashes" in command or ours
    assert "pip install" not in (ROOT / ".ci/run").read_text()
