"""The demo tells the truth: ok only where every expectation held, and it leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from hosts import GROUP, PATIENCE, ROOT, Gateway, eventually
from kong_process import kong_binary, requires_kong
from kong_scim_demo.command import TIMELINE

COMMAND = [sys.executable, "-m", "kong_scim.cli.main", "demo"]

WHOLE = 4 * PATIENCE
"""Seconds for all of the story: its provider sends about a thousand requests."""

MISTAKE = "by mistake, DELETE /Groups/… -> 409 This tenant is in quarantine"

pytestmark = [pytest.mark.long, pytest.mark.timeout(WHOLE + PATIENCE)]


def against(
    gateway: Gateway, *more: str, token: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *COMMAND,
            *("--scim-url", gateway.scim_base, "--token", token or gateway.token),
            *("--admin-url", gateway.host.admin_url, "--api-url", f"{gateway.proxy_url}/echo"),
            *("--group", GROUP, *more),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def family(process: subprocess.Popen[str], count: int) -> list[psutil.Process]:
    """The demo, its sandbox and the sandbox's plugin server, once they are there."""
    me = psutil.Process(process.pid)
    eventually(lambda: len(me.children(recursive=True)) >= count - 1, "the demo's processes")
    return [me, *me.children(recursive=True)]


@pytest.fixture(scope="module")
def whole() -> subprocess.CompletedProcess[str]:
    """The whole demo on a sandbox of its own, where a token is in the environment."""
    environment = {**os.environ, "SCIM_TOKEN": "somebody's real one"}
    with subprocess.Popen(
        COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        processes = family(process, 3)
        output, errors = process.communicate(timeout=WHOLE)
    assert psutil.wait_procs(processes, PATIENCE)[1] == [], "left running"
    return subprocess.CompletedProcess(COMMAND, process.returncode, output, errors)


def test_the_story_holds_on_a_sandbox_of_its_own_and_with_a_token_of_its_own(
    whole: subprocess.CompletedProcess[str],
) -> None:
    assert whole.stderr == ""
    lines = whole.stdout.splitlines()
    assert lines[-1] == "demo: ok"
    assert whole.returncode == 0
    assert "POST /Users x 25" in whole.stdout
    assert "POST /Groups x 3" in whole.stdout
    assert MISTAKE in whole.stdout
    assert "again, DELETE /Groups/… -> 204" in whole.stdout
    assert "403 You cannot consume this service" in whole.stdout


def played(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=WHOLE,
        check=False,
    )


def timeline(text: str) -> list[str]:
    """The timeline in a text, without what is different each time.

    Without keys that an administrator gives, too: only a DB-less Kong makes events of them.
    """
    text = text[text.index(TIMELINE) :]
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ|\b[0-9a-f-]{32,36}\b", "...", text)
    text = re.sub(r"until \d\d:\d\d:\d\dZ", "until ...", text)
    text = re.sub(r"#\d+ +", "# ", text)
    lines = text.partition("demo: ok" if "demo: ok" in text else "```")[0].splitlines()
    return [line for line in lines if "credential-" not in line]


def test_the_timeline_of_the_readme_is_what_the_demo_prints(
    whole: subprocess.CompletedProcess[str],
) -> None:
    shown = timeline((ROOT / "README.md").read_text())
    assert timeline(whole.stdout) == shown
    assert len(shown) > 10
    assert any("access used 14 times: GET /echo (14)" in line for line in shown)
    assert any("refused 3 times: GET /echo (3)" in line for line in shown)


def test_the_story_is_the_same_without_a_database() -> None:
    done = played("--on", "sandbox-off")
    assert done.stderr == ""
    assert done.stdout.endswith("demo: ok\n")
    assert "POST /Users x 25" in done.stdout
    assert timeline(done.stdout) == timeline((ROOT / "README.md").read_text())
    assert MISTAKE in done.stdout


@requires_kong
@pytest.mark.parametrize("on", ["dbless", "hybrid"])
def test_the_story_is_the_same_on_a_real_kong(on: str) -> None:
    done = played("--on", on, KONG_SCIM_KONG=kong_binary())
    assert done.stdout.endswith("demo: ok\n"), done.stdout + done.stderr
    assert "POST /Users x 25" in done.stdout
    assert MISTAKE in done.stdout
    if on == "dbless":  # a hybrid gateway refuses before its configuration comes, as the guard does
        assert timeline(done.stdout) == timeline((ROOT / "README.md").read_text())


def test_a_kong_that_is_not_there_is_said_in_a_sentence() -> None:
    unnamed = played("--on", "dbless", KONG_SCIM_KONG="")
    assert unnamed.returncode == 2
    assert "KONG_SCIM_KONG" in unnamed.stderr
    nowhere = played("--on", "dbless", KONG_SCIM_KONG="/nowhere/kong")
    assert nowhere.returncode == 1
    assert "/nowhere/kong: No such file or directory" in nowhere.stderr
    assert "Traceback" not in nowhere.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_leaves_nothing_running_when_it_is_stopped(
    demo: subprocess.Popen[str], number: signal.Signals
) -> None:
    processes = family(demo, 3)
    time.sleep(0.2)  # somewhere in the story; where does not matter
    os.kill(demo.pid, number)
    output, _ = demo.communicate(timeout=PATIENCE)
    assert "demo: ok" not in output
    assert demo.returncode != 0
    assert psutil.wait_procs(processes, PATIENCE)[1] == []


@pytest.mark.every_host
def test_the_story_holds_on_any_gateway_and_leaves_nobody_there(gateway: Gateway) -> None:
    done = against(gateway)
    assert done.stdout.endswith("demo: ok\n"), done.stdout
    assert done.returncode == 0
    assert "this gateway has no deprovisioning guard: nothing to see" in done.stdout
    assert gateway.consumers() == []
    assert gateway.scim.get("/Users").json()["totalResults"] == 0


def test_an_expectation_that_does_not_hold_is_shown_and_makes_it_fail(gateway: Gateway) -> None:
    done = against(gateway, token="another token")
    assert done.returncode == 1
    assert done.stdout.endswith("demo: failed\n")
    assert "FAIL identity provider: GET /Users" in done.stdout
    assert "expected: 200" in done.stdout
    assert "demo: ok" not in done.stdout


def test_a_guard_that_lets_everybody_through_makes_it_fail(gateway: Gateway) -> None:
    """An API that asks for no group is no API of the story."""
    done = against(gateway, "--api-url", f"{gateway.proxy_url}/keyed")
    assert done.returncode == 1
    assert "FAIL application: GET /keyed x 3 -> 1 of 3: 200" in done.stdout


def test_a_gateway_that_is_not_there_makes_it_fail() -> None:
    nowhere = "http://127.0.0.1:1"
    done = subprocess.run(
        [
            *(*COMMAND, "--scim-url", nowhere, "--token", "t"),
            *("--admin-url", nowhere, "--api-url", nowhere),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "demo: failed" in done.stdout
    assert "Traceback" not in done.stderr
