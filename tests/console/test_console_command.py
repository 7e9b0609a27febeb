"""``kong-scim console`` and the sandbox's console: what they print, and what stops them."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from host_processes import PATIENCE
from kong_scim.cli.main import main
from kong_scim.console.server import KEY_HEADER, STATIC

WHERE = ["--scim-url", "https://gw.example.com/scim/v2", "--token", "t"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--scim-url and --token are needed"),
        (["--scim-url", "gw.example.com", "--token", "t"], "this is no URL such as"),
        ([*WHERE, "--trust-header", "X-User"], "--trust-header and --public-url go together"),
        ([*WHERE, "--public-url", "https://c.example"], "go together"),
        ([*WHERE, "--trust-header", "Cookie"], "is no header that a sign-on sets"),
        ([*WHERE, "--public-url", "http://c.example"], "is no https URL without a path"),
    ],
)
def test_options_that_make_no_console(arguments: list[str], sentence: str) -> None:
    result = CliRunner(env={"SCIM_URL": "", "SCIM_TOKEN": ""}).invoke(main, ["console", *arguments])
    assert result.exit_code == 2
    assert sentence in result.output


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(main, ["console", *WHERE, "--port", port])
    assert result.exit_code == 1
    assert f"port {port} of 127.0.0.1" in result.output
    assert "--port" in result.output


def test_the_sandbox_has_a_console_after_its_token() -> None:
    command = [sys.executable, "-m", "kong_scim.cli.main", "sandbox"]
    with subprocess.Popen(
        [*command, "--port", "0", "--admin-port", "0", "--console-port", "0", "--token", "t0ken"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().rstrip("\n") for _ in range(6)]
            assert lines[2] == "SCIM token: t0ken"
            found = re.fullmatch(r"Console: (http://127\.0\.0\.1:\d+)/#secret=(\S+)", lines[3])
            assert found is not None
            with httpx.Client(base_url=found[1], trust_env=False) as client:
                origin = {"Origin": found[1]}
                begun = client.post("/session", json={"secret": found[2]}, headers=origin)
                key = {KEY_HEADER: begun.json()["key"]}
                assert client.get("/api/Users", headers=key, timeout=PATIENCE).status_code == 200
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == 0


def test_the_vendored_files_are_those_that_their_list_names() -> None:
    vendor = STATIC / "vendor"
    listed = dict(
        reversed(line.split()) for line in (vendor / "SHA256SUMS").read_text().splitlines() if line
    )
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.iterdir()
        if path.name not in {"README.md", "SHA256SUMS"}
    }
    assert found == listed
    readme = (vendor / "README.md").read_text()
    assert [name for name in found if name not in readme] == []


def test_every_module_of_the_page_is_there() -> None:
    broken = []
    for module in [path for path in STATIC.rglob("*.js") if path.parent.name != "vendor"]:
        for name in re.findall(r'from "(\.[^"]+)"', module.read_text()):
            if not (module.parent / name).resolve().is_file():
                broken.append(f"{module.name}: {name}")
    assert broken == []


def test_no_file_of_the_page_names_another_server() -> None:
    own = [path for path in STATIC.rglob("*") if path.is_file() and path.parent.name != "vendor"]
    named = {
        f"{path.name}: {url}"
        for path in own
        for url in re.findall(r"https?://[^\s\"'<>`]+", path.read_text())
        if "www.w3.org/2000/svg" not in url
    }
    assert named == set()
    assert Path(STATIC / "index.html") in own
