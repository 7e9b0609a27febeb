"""The wheel, built and installed: nothing but what it asks for, and without a network."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from host_processes import PATIENCE


def built(source: Path, target: Path) -> Path:
    """Build the wheel as `make wheel` does."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", target],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        check=True,
        capture_output=True,
    )
    (wheel,) = target.glob("*.whl")
    return wheel


class Installed:
    """A virtual environment with the wheel, and nothing but what the wheel asks for.

    Nothing is downloaded: each required package is linked from the environment of the tests. pip,
    which knows no index, then refuses the wheel if one is missing or of another version.
    """

    def __init__(self, directory: Path, wheel: Path, *extras: str) -> None:
        venv.create(directory, symlinks=True)
        self.bin = directory / "bin"
        (packages,) = directory.glob("lib/python*/site-packages")
        for each in closure(wheel, extras):
            link(each, packages)
        with_extras = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python")]
        subprocess.run(
            [*pip, "install", "--quiet", "--no-index", "--no-compile", with_extras],
            check=True,
            env=self.environment,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.bin}:/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    @contextlib.contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Run one of its programs, away from the sources, until the block ends; it prints lines."""
        with subprocess.Popen(
            [str(self.bin / command[0]), *command[1:]],
            cwd="/",
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(PATIENCE)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, away from the sources."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd="/",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def closure(wheel: Path, extras: tuple[str, ...]) -> Iterator[Distribution]:
    """All distributions that a wheel requires, and what these require."""
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    text = archive.read(metadata).decode()
    lines = re.findall(r"^Requires-Dist: (.+)$", text, re.MULTILINE)
    ours = Requirement(f"kong-scim[{','.join(extras)}]" if extras else "kong-scim")
    waiting, seen = [ours], set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        if requirement.name == ours.name:
            requires = lines
        else:
            found = distribution(requirement.name)
            requires = found.requires or []
            yield found
        wanted = [{"extra": extra} for extra in ("", *requirement.extras)]
        for each in map(Requirement, requires):
            if each.marker is None or any(each.marker.evaluate(extra) for extra in wanted):
                waiting.append(each)


def link(package: Distribution, packages: Path) -> None:
    """Make an installed distribution one of another environment, too, without its programs."""
    for name in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
        place = packages / name
        if not place.exists():
            place.symlink_to(Path(str(package.locate_file(name))))
