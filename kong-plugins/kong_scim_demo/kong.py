"""A real Kong for the demo: DB-less, on loopback, gone at its end."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from kong_scim_demo.scenario import Urls
from kong_scim_sandbox.plugin_process import end_with_parent

GROUP = "api-users"
"""The ACL group of the API in the sandbox's own kong.yml, which this Kong uses too."""

_LUA = Path(__file__).resolve().parents[1]
_START = 60.0
_COMMAND = 120.0


class KongError(RuntimeError):
    """Kong does not start. The message has Kong's output."""


@contextlib.contextmanager
def running(binary: str) -> Iterator[Urls]:
    """Run a DB-less Kong with two workers and a plugin server while the block runs.

    :param binary: The path of the ``kong`` command line (3.9).
    :raises KongError: When it does not start.
    """
    token = secrets.token_urlsafe()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kong-scim-")))
        upstream = stack.enter_context(echo())
        access_log = directory / "access.json"
        (directory / "kong.yml").write_text(declaration(access_log, upstream))
        stack.enter_context(plugin_server(directory, "--data", str(directory / "data")))
        proxy, admin = free_ports(2)
        environment = _environment(directory, proxy, admin) | {"SCIM_TOKEN": token}
        stack.callback(command, binary, environment, "stop", check=False)
        command(binary, environment, "start")
        wait_for(lambda: socket.create_connection(("127.0.0.1", proxy)), "Kong does not listen")
        base = f"http://127.0.0.1:{proxy}"
        yield Urls(
            scim=f"{base}/scim/v2",
            token=token,
            admin=f"http://127.0.0.1:{admin}",
            api=f"{base}/echo",
            group=GROUP,
            access_log=access_log,
        )


def declaration(access_log: Path, upstream: str | None = None) -> str:
    """Return the sandbox's own kong.yml, with an access log for calls of the API.

    :param access_log: The file that the plugin file-log writes.
    :param upstream: The URL of the API's upstream; None for the sandbox's own echo.
    """
    content = yaml.safe_load(files("kong_scim_sandbox").joinpath("kong.yml").read_text())
    (service,) = content["services"]
    service["url"] = upstream or service["url"]
    service["plugins"].append({"name": "file-log", "config": {"path": str(access_log)}})
    return str(yaml.safe_dump(content))


def _environment(directory: Path, proxy: int, admin: int) -> dict[str, str]:
    settings = {
        **settings_of(directory / "kong", directory),
        "database": "off",
        "declarative_config": str(directory / "kong.yml"),
        "proxy_listen": f"127.0.0.1:{proxy} reuseport",
        "admin_listen": f"127.0.0.1:{admin}",
    }
    return with_settings(settings)


def settings_of(prefix: Path, plugin_server_directory: Path) -> dict[str, str]:
    """Return the settings that every Kong of the demo has."""
    return {
        "prefix": str(prefix),
        "status_listen": "off",
        "admin_gui_listen": "off",
        "anonymous_reports": "off",
        "nginx_worker_processes": "2",
        "plugins": "bundled,scim,scim-bridge",
        "lua_package_path": f"{_LUA}/?.lua;;",
        "pluginserver_names": "scim",
        "pluginserver_scim_socket": str(plugin_server_directory / "plugin.sock"),
        "pluginserver_scim_query_cmd": f"cat {plugin_server_directory / 'plugin.json'}",
    }


def with_settings(settings: dict[str, str]) -> dict[str, str]:
    """Return the environment of a Kong with these settings."""
    if os.geteuid() == 0:  # another user could not use this directory
        settings = {**settings, "nginx_user": "root root"}
    inherited = {name: value for name, value in os.environ.items() if "KONG_" not in name}
    return inherited | {f"KONG_{name.upper()}": value for name, value in settings.items()}


@contextlib.contextmanager
def plugin_server(directory: Path, *options: str) -> Iterator[None]:
    """Run a plugin server while the block runs, and wait until it listens.

    :param directory: Where its socket and its description for Kong are.
    """
    program = [sys.executable, "-m", "kong_scim.pluginserver"]
    dump = subprocess.run([*program, "--dump"], capture_output=True, check=True)  # noqa: S603
    (directory / "plugin.json").write_bytes(dump.stdout)
    with (directory / "plugin-server.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*program, "--socket", str(directory / "plugin.sock"), *options],
            stdin=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            preexec_fn=end_with_parent(),  # noqa: PLW1509 - no other thread has started
        )
    try:
        wait_for(lambda: _connect(directory / "plugin.sock"), "the plugin server does not listen")
        yield
    finally:
        process.terminate()
        process.wait()


def command(binary: str, environment: dict[str, str], *arguments: str, check: bool = True) -> None:
    """Run a command of Kong's command line.

    :raises KongError: When it fails, with its output.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the Kong that the user named
            [binary, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_COMMAND,
            check=False,
        )
    except OSError as error:
        raise KongError(f"{binary}: {error.strerror}") from error
    if check and done.returncode:
        raise KongError(f"Kong does not {' '.join(arguments)}:\n{done.stdout}")


def wait_for(connect: Callable[[], socket.socket], otherwise: str) -> None:
    """Wait until a connection can be made.

    :raises KongError: After a minute, with the text.
    """
    deadline = time.monotonic() + _START
    while True:
        with contextlib.suppress(OSError), connect():
            return
        if time.monotonic() > deadline:
            raise KongError(f"{otherwise} within {_START:g} s")
        time.sleep(0.05)


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def free_ports(count: int) -> list[int]:
    """Return this many different ports of loopback on which nobody listens."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer with the path and the headers of the request."""
        body = json.dumps({"path": self.path, "headers": dict(self.headers.items())}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@contextlib.contextmanager
def echo() -> Iterator[str]:
    """Run an upstream that answers what it got while the block runs; yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
