"""A console in front of a gateway, and a browser in front of the console."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from company import Company, founded
from gateway import Relay
from windows import RunningConsole, Tab

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


@pytest.fixture(scope="session")
def company() -> Iterator[Company]:
    """A company on a sandbox of its own. A test may leave Kong differing from SCIM, deliveries that
    wait and the quarantine in any state; who needs these in one asks :class:`Company` for it."""
    with founded() as company:
        yield company


@pytest.fixture(scope="session")
def _shared_relay(company: Company) -> Iterator[Relay]:
    relay = Relay(company.gateway.scim_base)
    with relay.serving():
        yield relay


@pytest.fixture
def relay(_shared_relay: Relay) -> Relay:
    """The way from the console to the gateway, which changes nothing until a test says so."""
    _shared_relay.reset()
    return _shared_relay


@pytest.fixture(scope="session")
def shared_console(_shared_relay: Relay) -> Iterator[RunningConsole]:
    console = RunningConsole(_shared_relay.url)
    yield console
    console.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for each file: playwright runs an event loop in this thread until it ends, and
    other tests of this process need one of their own.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium, or set KONG_SCIM_CHROMIUM")
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def new_tab(
    browser: Any, shared_console: RunningConsole, relay: Relay
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
