"""``kong-scim demo``: the story on a sandbox that it starts itself, or on any gateway."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
from rich.console import Console

from kong_scim.cli.kong import running
from kong_scim.cli.story import Endpoints, ExpectationError, Story
from kong_scim.cli.view import View
from kong_scim.sandbox.plugin_process import end_with_parent

_STOP_TIMEOUT = 20

SANDBOX_GROUP = "api-users"
"""The ACL group of the API in the sandbox's own kong.yml."""


class SandboxError(RuntimeError):
    """The sandbox of the demo does not start."""


def play(endpoints: Endpoints, console: Console) -> bool:
    """Play the story, and return whether every expectation held."""
    view = View(console)
    with contextlib.closing(Story(endpoints, view)) as story, view.shown():
        try:
            story.play()
        except (ExpectationError, httpx.HTTPError):
            return False
    return True


@contextlib.contextmanager
def kong(binary: str) -> Iterator[Endpoints]:
    """Run a real Kong, DB-less, until the end of the block; nothing of it is left then.

    :raises ~kong_scim.cli.kong.KongError: With its output, when it does not start.
    """
    with _sigterm_unwinds(), running(binary) as endpoints:
        yield endpoints


@contextlib.contextmanager
def sandbox(database: str) -> Iterator[Endpoints]:
    """Run a sandbox on free ports until the end of the block; nothing of it is left then.

    :param database: ``sqlite`` or ``off``.
    :raises SandboxError: With its output, when it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="kong-scim-demo-") as directory, _sigterm_unwinds():
        errors = Path(directory) / "stderr.txt"
        token = secrets.token_urlsafe()
        with errors.open("w") as stderr:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [
                    *(sys.executable, "-m", "kong_scim.cli.main", "sandbox"),
                    *("--port", "0", "--admin-port", "0", "--data", f"{directory}/data"),
                    *("--database", database),
                ],
                env={**os.environ, "SCIM_TOKEN": token},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                # Ctrl-C is for the demo, which then stops the sandbox.
                start_new_session=True,
                preexec_fn=end_with_parent(),  # noqa: PLW1509 - there is one thread yet
            )
        try:
            yield _endpoints(process, token, errors)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _endpoints(process: subprocess.Popen[str], token: str, errors: Path) -> Endpoints:
    said: dict[str, str] = {}
    for line in process.stdout or ():
        name, _, value = line.strip().partition(": ")
        said[name] = value
        if name == "Admin API":
            return Endpoints(
                scim=said["SCIM base URL"],
                token=token,
                admin=value,
                api=said["Proxy"] + "/echo",
                group=SANDBOX_GROUP,
            )
    raise SandboxError(f"The sandbox does not start:\n{errors.read_text()}")


@contextlib.contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM end the process through every `finally`, as Ctrl-C does."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
