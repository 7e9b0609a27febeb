"""Which machine and which versions a run was made with."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

from bench.options import OPTIONS


def description() -> str:
    """Return a sentence with the machine and the versions."""
    memory = psutil.virtual_memory().total / 2**30
    parts = [
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}",
        f"Python {platform.python_version()}",
        f"scim2-server {version('scim2-server')}",
        f"waitress {version('waitress')}",
    ]
    if shutil.which("node"):
        parts.append(f"Node.js {_output('node', '--version').removeprefix('v')}")
    kong = os.environ.get("KONG_SCIM_KONG")
    if kong:
        parts += [f"Kong {_output(kong, 'version').split()[-1]}", "two workers"]
    if OPTIONS.short:
        parts.append("a short run (`--short`), with a quarter of the numbers that the text names")
    return "; ".join(parts)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
