"""``kong-scim demo``: plays the scenario on a sandbox that it starts itself, or on any gateway."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import httpx
from rich.console import Console

from kong_scim.cli.audit import user_timeline
from kong_scim.cli.client import Client
from kong_scim.cli.printing import failure, safe
from kong_scim_demo import hybrid_kong, kong
from kong_scim_demo.kong import KongError, declaration
from kong_scim_demo.scenario import ExpectationError, Scenario, Urls
from kong_scim_demo.table import LiveTable
from kong_scim_sandbox.plugin_process import end_with_parent

_STOP_TIMEOUT = 20
_SEALED_WITHIN = 10.0

TIMELINE = "$ kong-scim audit --user"
"""The beginning of the line above the timeline. The user is deleted by then, so the line has the id
and not the userName."""

SANDBOX_GROUP = "api-users"
"""The ACL group of the API in the sandbox's own kong.yml."""


ON_KONG = {"dbless": kong.running, "hybrid": hybrid_kong.running}
"""What runs a real Kong, by the option ``--on``."""


class SandboxError(RuntimeError):
    """The sandbox of the demo does not start."""


def play(endpoints: Urls, console: Console) -> bool:
    """Play the scenario, and return whether every expectation held.

    If there is an access log, the timeline of one user is printed at the end.
    """
    table = LiveTable(console)
    with contextlib.closing(Scenario(endpoints, table)) as scenario:
        with table.shown():
            try:
                scenario.play()
            except (ExpectationError, httpx.HTTPError):
                return False
        if endpoints.access_log and scenario.heroine:
            _print_timeline(endpoints, endpoints.access_log, scenario.heroine, console)
    return True


def _print_timeline(endpoints: Urls, access_log: Path, user: str, console: Console) -> None:
    client = Client(endpoints.scim, endpoints.token)
    is_deleted = f'resourceId eq "{user}" and operation eq "delete"'
    deadline = time.monotonic() + _SEALED_WITHIN
    while not list(client.events(is_deleted)) and time.monotonic() < deadline:
        time.sleep(0.1)
    lines = ["", f"{TIMELINE} {user} --access {access_log.name}"]
    with access_log.open() as log:
        lines += user_timeline(client, user, log)
    console.print("\n".join(map(safe, lines)), markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def on_kong(binary: str, on: str) -> Iterator[Urls]:
    """Run a real Kong while the block runs, and remove it afterwards.

    :param on: ``dbless`` or ``hybrid``.
    :raises ~kong_scim_demo.kong.KongError: When it does not start; with its output.
    """
    with _sigterm_as_exception(), ON_KONG[on](binary) as endpoints:
        yield endpoints


@contextlib.contextmanager
def on_sandbox(database: str) -> Iterator[Urls]:
    """Run a sandbox on free ports while the block runs, and remove it afterwards.

    :param database: ``sqlite`` or ``off``.
    :raises SandboxError: When it does not start; with its output.
    """
    with (
        tempfile.TemporaryDirectory(prefix="kong-scim-demo-") as directory,
        _sigterm_as_exception(),
    ):
        errors = Path(directory) / "stderr.txt"
        token = secrets.token_urlsafe()
        access_log, config = Path(directory) / "access.json", Path(directory) / "kong.yml"
        config.write_text(declaration(access_log))
        with errors.open("w") as stderr:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [
                    *(sys.executable, "-m", "kong_scim.cli.main", "sandbox"),
                    *("--port", "0", "--admin-port", "0", "--data", f"{directory}/data"),
                    "--no-console",
                    *("--database", database, "--config", str(config)),
                ],
                env={**os.environ, "SCIM_TOKEN": token},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                # Ctrl-C must reach only the demo, which then stops the sandbox.
                start_new_session=True,
                preexec_fn=end_with_parent(),  # noqa: PLW1509 - there is only one thread
            )
        try:
            yield replace(_endpoints(process, token, errors), access_log=access_log)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _endpoints(process: subprocess.Popen[str], token: str, errors: Path) -> Urls:
    printed: dict[str, str] = {}
    for line in process.stdout or ():
        name, _, value = line.strip().partition(": ")
        printed[name] = value
        if name == "Admin API":
            return Urls(
                scim=printed["SCIM base URL"],
                token=token,
                admin=value,
                api=printed["Proxy"] + "/echo",
                group=SANDBOX_GROUP,
            )
    raise SandboxError(f"The sandbox does not start:\n{errors.read_text()}")


@contextlib.contextmanager
def _sigterm_as_exception() -> Iterator[None]:
    """Make SIGTERM raise an exception, like Ctrl-C, so that every `finally` runs."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.command()
@click.option(
    "--on",
    type=click.Choice(["sandbox", "sandbox-off", *ON_KONG]),
    default="sandbox",
    show_default=True,
    help="What the demo runs: a sandbox, with a database or without, or a real Kong, DB-less or "
    "hybrid.",
)
@click.option(
    "--kong",
    help="Path of the `kong` command line, for --on dbless and --on hybrid.",
    envvar="KONG_SCIM_KONG",
    show_envvar=True,
)
@click.option(
    "--scim-url", help="SCIM base URL of another gateway than a sandbox of the demo's own."
)
@click.option(
    "--token",
    help="SCIM token of that gateway, with the scope scim:admin.",
    envvar="SCIM_TOKEN",
    show_envvar=True,
)
@click.option("--admin-url", help="URL of its Admin API.")
@click.option("--api-url", help="URL of an API behind key-auth and acl.")
@click.option(
    "--group",
    default=SANDBOX_GROUP,
    show_default=True,
    help="ACL group that the API lets through.",
)
def demo(  # noqa: PLR0917 - one parameter per option
    on: str,
    kong: str | None,
    scim_url: str | None,
    token: str | None,
    admin_url: str | None,
    api_url: str | None,
    group: str,
) -> None:
    """Play the main job over HTTP and show it: people come, get access, lose it and leave."""
    console = Console()
    if scim_url is None:
        if admin_url or api_url:
            raise click.UsageError("--admin-url and --api-url go with --scim-url")
        if on in ON_KONG and not kong:
            raise click.UsageError(
                f"--on {on} runs a real Kong: name its binary with --kong or KONG_SCIM_KONG, "
                "or take --on sandbox-off"
            )
        database = "off" if on == "sandbox-off" else "sqlite"
        try:
            with on_kong(kong, on) if kong and on in ON_KONG else on_sandbox(database) as endpoints:
                held = play(endpoints, console)
        except (SandboxError, KongError) as error:
            raise failure(str(error)) from error
    elif token and admin_url and api_url:
        held = play(Urls(scim_url, token, admin_url, api_url, group), console)
    else:
        raise click.UsageError("--scim-url needs --token, --admin-url and --api-url as well")
    click.echo("demo: ok" if held else "demo: failed")
    if not held:
        sys.exit(1)
