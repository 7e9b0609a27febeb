"""The servers under test, as processes of their own on loopback."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.workloads import Server


@contextlib.contextmanager
def in_memory() -> Iterator[Server]:
    """Run scim2-server's in-memory server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with _process("-m", "bench.baseline", str(port)):
        base = f"http://127.0.0.1:{port}/v2"
        _wait_for(f"{base}/ServiceProviderConfig")
        yield Server(base)


@contextlib.contextmanager
def sandbox(data: Path, config: Path | None = None) -> Iterator[Server]:
    """Run a sandbox gateway that keeps its data in a directory.

    :param config: A declarative file; None for the one that comes with the sandbox.
    """
    token = secrets.token_urlsafe()
    arguments = ("--port", "0", "--admin-port", "0", "--data", str(data), "--token", token)
    arguments += ("--config", str(config)) if config else ()
    with _process("-m", "kong_scim.cli.main", "sandbox", *arguments) as process:
        said: dict[str, str] = {}
        for line in process.stdout or ():
            name, _, value = line.strip().partition(": ")
            said[name] = value
            if name == "Admin API":
                break
        yield Server(said["SCIM base URL"], token)


@contextlib.contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
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
            httpx.get(url)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
