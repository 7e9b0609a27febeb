"""A console in front of a gateway, and a browser in front of the console."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from company import Company, found, give_up_deliveries
from gateway import StandIn, serving

from host_processes import PATIENCE, eventually
from hosts import Gateway
from receiver import receiver
from variants import variant

CHROMIUM = Path(os.environ.get("KONG_SCIM_CHROMIUM", "/usr/bin/chromium"))
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/#secret=\S+")
TOKEN = "token-of-tenant-a"
WIDE = {"width": 1280, "height": 860}
NARROW = {"width": 360, "height": 740}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-screenshots",
        action="store_true",
        help="write the pictures of docs/console.md anew",
    )


class RunningConsole:
    """``kong-scim console`` as a process.

    :ivar origin: Where it answers.
    """

    def __init__(self, scim_url: str, token: str = TOKEN, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kong_scim.cli.main", "console", "--port", "0", *options],
            env={
                **os.environ,
                "SCIM_URL": scim_url,
                "SCIM_TOKEN": token,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._link = self._next_link()
        found = LINK.fullmatch(self._link)
        assert found is not None
        self.origin = found[1]

    def link(self) -> str:
        """Return a link that nobody has used; whoever calls this uses it."""
        link, self._link = self._link, ""
        return link or self._next_link()

    def _next_link(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = LINK.search(line)
            if found:
                return found[0]
        raise RuntimeError("the console ended")

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()


@pytest.fixture(scope="module")
def company(_gateways: Callable[[str], Gateway]) -> Iterator[Company]:
    """A tenant with people, a quarantine, and a receiver of webhooks that takes half of them."""
    with receiver() as target:
        target.behave = lambda body: 503 if b"Group" in body else 202
        webhook = {"name": "hr", "url": target.url, "secret": "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="}
        events = {"webhooks": [webhook], "allow_http": True, "allow_hosts": ["127.0.0.1"]}
        net = {"users": 5}
        with variant(_gateways("sandbox"), quarantine=net, events=events) as gateway:
            made = found(gateway)
            eventually(lambda: len(failed_deliveries(gateway)) > 3, "deliveries that failed")
            give_up_deliveries(made)
            yield made
            gateway.decide("approve")


def failed_deliveries(gateway: Gateway) -> list[dict[str, Any]]:
    """Return the deliveries that wait and were tried."""
    query = {"state": "pending", "count": 200}
    found = gateway.scim.get("/Events/deliveries", params=query).json()["deliveries"]
    return [each for each in found if each["attempts"]]


@pytest.fixture(scope="module")
def shared_stand_in(company: Company) -> Iterator[StandIn]:
    stand_in = StandIn(company)
    with serving(stand_in):
        yield stand_in


@pytest.fixture
def gateway_of_console(shared_stand_in: StandIn) -> StandIn:
    """The gateway, which answers as it should until a test says otherwise."""
    shared_stand_in.reset()
    return shared_stand_in


@pytest.fixture(scope="module")
def shared_console(shared_stand_in: StandIn) -> Iterator[RunningConsole]:
    console = RunningConsole(shared_stand_in.url)
    yield console
    console.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for the whole session."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium, or set KONG_SCIM_CHROMIUM")
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield launched
        launched.close()


class Tab:
    """A tab of the browser with the console in it.

    :ivar page: The page of Playwright.
    :ivar problems: What the browser complained of, such as a breach of the content policy.
    :ivar elsewhere: Requests to anybody but the console.
    """

    def __init__(self, browser: Any, console: RunningConsole, **options: Any) -> None:
        self._console = console
        self._context = browser.new_context(**{"viewport": WIDE, "locale": "en-GB", **options})
        self._context.set_default_timeout(8000)
        self.page = self._context.new_page()
        self.problems: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._on_request)

    def _on_console(self, message: Any) -> None:
        # What a test has the gateway answer is no problem of the page.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((self._console.origin, "blob:")):
            self.elsewhere.append(request.url)

    def open(self, where: str = "overview") -> Any:
        """Show a page of the console, logged in with a link of its own at first."""
        if self.page.url == "about:blank":
            self.page.goto(self._console.link())
            self.page.get_by_role("heading", level=1).wait_for()
        self.page.evaluate("where => { location.hash = `#/${where}`; }", where)
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until everything on the page is loaded."""
        self.page.wait_for_function(
            "() => document.querySelector('h1')"
            " && !document.querySelector('.waiting, [aria-busy=true]')"
        )

    def close(self) -> None:
        self._context.close()


@pytest.fixture
def new_tab(
    browser: Any, shared_console: RunningConsole, gateway_of_console: StandIn
) -> Iterator[Callable[..., Tab]]:
    """Open tabs that share nothing; at the end, none may have complained or called others."""
    with contextlib.ExitStack() as stack:
        tabs: list[Tab] = []

        def make(**options: Any) -> Tab:
            tab = Tab(browser, shared_console, **options)
            stack.callback(tab.close)
            tabs.append(tab)
            return tab

        yield make
        assert [each for tab in tabs for each in tab.problems] == []
        assert [each for tab in tabs for each in tab.elsewhere] == []


@pytest.fixture
def tab(new_tab: Callable[..., Tab]) -> Tab:
    return new_tab()
