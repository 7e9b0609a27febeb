"""A console in front of a gateway, and a browser in front of the console."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from company import Company, found, give_up_deliveries
from gateway import StandIn, serving
from windows import RunningConsole, Tab

from hosts import Gateway
from receiver import receiver
from variants import variant

CHROMIUM = Path(os.environ.get("KONG_SCIM_CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def company(_gateways: Callable[[str], Gateway]) -> Iterator[Company]:
    """A tenant with people, a quarantine, and a receiver of webhooks that takes half of them."""
    with receiver() as target:
        target.behave = lambda body: 503 if b"Group" in body else 202
        webhook = {"name": "hr", "url": target.url, "secret": "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="}
        events = {"webhooks": [webhook], "allow_http": True, "allow_hosts": ["127.0.0.1"]}
        net = {"users": 5}
        with variant(_gateways("sandbox"), quarantine=net, events=events) as gateway:
            try:
                made = found(gateway)
                give_up_deliveries(made)
                yield made
            finally:
                gateway.decide("approve")  # otherwise nobody could clear it


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


@pytest.fixture
def new_tab(
    browser: Any, shared_console: RunningConsole, gateway_of_console: StandIn
) -> Iterator[Callable[..., Tab]]:
    """Open tabs that share nothing; at the end, none may have complained or called others."""
    with contextlib.ExitStack() as stack:
        tabs: list[Tab] = []

        def make(console: RunningConsole = shared_console, **options: Any) -> Tab:
            tab = Tab(browser, console, **options)
            stack.callback(tab.close)
            tabs.append(tab)
            return tab

        yield make
        assert [each for tab in tabs for each in tab.problems] == []
        assert [each for tab in tabs for each in tab.elsewhere] == []


@pytest.fixture
def tab(new_tab: Callable[..., Tab]) -> Tab:
    return new_tab()
