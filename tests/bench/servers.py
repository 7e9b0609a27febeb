"""The servers under test, as processes of their own on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from bench.workloads import Server
from hosts import Gateway, KongHost, SandboxHost, running_gateway
from kong_scim_sandbox.gateway import default_config
from ports import free_ports

PEERS = Path(__file__).resolve().parent / "peers"


class MissingPeerError(Exception):
    """A peer cannot run on this machine. The message says why."""


@contextlib.contextmanager
def scim2_server() -> Iterator[Server]:
    """Run scim2-server's in-memory storage on waitress."""
    (port,) = free_ports(1)
    with _process(sys.executable, "-m", "bench.peers.scim2_server", str(port)):
        base = f"http://127.0.0.1:{port}/v2"
        _wait_for(f"{base}/ServiceProviderConfig")
        yield Server(base, name="scim2-server")


@contextlib.contextmanager
def scimmy() -> Iterator[Server]:
    """Run SCIMMY on Express, whose packages npm installs once, outside of the repository.

    :raises MissingPeerError: Without Node.js, or where npm cannot install.
    """
    directory = _installed_scimmy()
    (port,) = free_ports(1)
    token = secrets.token_urlsafe()
    environment = {**os.environ, "TOKEN": token, "NODE_ENV": "production"}
    with _process("node", str(directory / "scimmy.mjs"), str(port), environment=environment):
        base = f"http://127.0.0.1:{port}/v2"
        _wait_for(f"{base}/ServiceProviderConfig")
        yield Server(base, token, name="SCIMMY")


def _installed_scimmy() -> Path:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise MissingPeerError(f"{program} is not there")
    files = [PEERS / name for name in ("package.json", "package-lock.json", "scimmy.mjs")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = cache / "kong-scim-bench" / digest
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as new:
        for file in files:
            shutil.copy(file, new)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=new, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingPeerError(f"npm ci failed: {done.stderr.strip().splitlines()[-1:]}")
        shutil.copytree(new, directory, symlinks=True)
    return directory


@contextlib.contextmanager
def sandbox(data: Path, **config: Any) -> Iterator[Server]:
    """Run a sandbox gateway that keeps its data in a directory.

    As on the hosts of the tests, there are no limits for refused tokens and no quarantine: a bench
    takes away more memberships in a minute than any identity provider should.

    :param config: Of its plugin ``scim``, beside that of the sandbox's own declarative file.
    """
    content = yaml.safe_load(default_config())
    (plugin,) = content["routes"][0]["plugins"]
    plugin["config"] |= {
        "limits": {"failed_attempts": 0},
        "quarantine": {"enabled": False},
        **config,
    }
    data.mkdir(parents=True, exist_ok=True)
    declaration = data / "kong.yml"
    declaration.write_text(yaml.safe_dump(content))
    token = secrets.token_urlsafe()
    command = [sys.executable, "-m", "kong_scim.cli.main", "sandbox", "--config", str(declaration)]
    command += ["--port", "0", "--admin-port", "0", "--data", str(data), "--token", token]
    command.append("--no-console")
    with _process(*command) as process:
        said: dict[str, str] = {}
        for line in process.stdout or ():
            name, _, value = line.strip().partition(": ")
            said[name] = value
            if name == "Admin API":
                break

        def processes() -> Mapping[str, Sequence[psutil.Process]]:
            status = httpx.get(said["Admin API"] + "/status", trust_env=False).json()
            return {
                "gateway": [psutil.Process(process.pid)],
                "plugin server": _with_children(status["plugin_server"]["pid"]),
            }

        yield Server(said["SCIM base URL"], token, name="sandbox", processes=processes)


@contextlib.contextmanager
def gateway(name: str, **more: Any) -> Iterator[tuple[Server, Gateway]]:
    """Run a host of the tests; ``kong-postgres`` and ``kong-dbless`` are a real Kong."""
    with running_gateway(name, **more) as running:

        def processes() -> Mapping[str, Sequence[psutil.Process]]:
            host = running.host
            plugin_server = _with_children(host.plugin_server().pid)
            if isinstance(host, KongHost):
                return {"gateway": host.kong.workers(), "plugin server": plugin_server}
            assert isinstance(host, SandboxHost)
            return {"gateway": [psutil.Process(host.pid)], "plugin server": plugin_server}

        yield (
            Server(running.scim_base, running.token, name=running.name, processes=processes),
            running,
        )


def has_kong() -> bool:
    """Tell whether there is a real Kong to measure."""
    return bool(os.environ.get("KONG_SCIM_KONG"))


def _with_children(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


@contextlib.contextmanager
def _process(
    *command: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(url: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
