"""The gateways of the contract tests: every test that takes ``gateway`` runs on each host."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import disk_usage
from typing import Any

import pytest

from hosts import Gateway, running_gateway
from kong_process import requires_kong
from kong_scim_sandbox.lua import coverage
from kong_scim_sandbox.lua.runtime import shipped_directory
from variants import variant

pytest_plugins = ["effort", "left_out"]


MEMORY = Path("/dev/shm")
ROOM = 2 * 1024**3
"""Bytes that must be free there."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the options of single directories: pytest reads their conftest.py too late."""
    parser.addoption(
        "--write-screenshots",
        action="store_true",
        help="write the pictures of docs/console.md anew",
    )


def pytest_configure() -> None:
    """Keep the files of tests in memory, where there is room: no commit waits for a disk."""
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and disk_usage(MEMORY).free > ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_report_header() -> str:
    """Say which Kong the tests run on; how many are left out without one is said at the end."""
    kong = os.environ.get("KONG_SCIM_KONG")
    if not kong:
        return "Kong: none, KONG_SCIM_KONG names no binary"
    version = subprocess.run([kong, "version"], capture_output=True, text=True, check=True)
    return f"Kong: {kong}, {version.stdout.strip()}"


def pytest_sessionfinish() -> None:
    """Write which lines of Lua this process ran: a worker of xdist ends without notice."""
    if coverage.VARIABLE in os.environ:
        coverage.write()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show which lines of the shipped Lua the tests ran, where that is asked for."""
    if coverage.VARIABLE in os.environ:
        terminalreporter.section("Lua that was run")
        for row in coverage.table(
            shipped_directory() / "scim-bridge", Path(os.environ[coverage.VARIABLE])
        ):
            terminalreporter.line(row)


KONG_TIMEOUT = 600
"""Seconds for a test on a real Kong: its set-up may migrate a database and start two nodes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests on a real Kong more time, and begin with the files that take long.

    Otherwise one worker is left with these at the end.
    """
    for item in items:
        if requires_kong.mark in item.iter_markers("skipif"):
            item.add_marker(pytest.mark.timeout(KONG_TIMEOUT), append=False)
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


HOSTS = [
    "sandbox",
    "sandbox-off",
    "sandbox-hybrid",
    pytest.param("kong-postgres", marks=requires_kong),
    pytest.param("kong-dbless", marks=requires_kong),
    pytest.param("kong-hybrid", marks=requires_kong),
    pytest.param("kong-hybrid-deltas", marks=requires_kong),
]


@pytest.fixture(scope="session", params=HOSTS)
def host_name(request: pytest.FixtureRequest) -> str:
    """The host a test runs on, as :mod:`hosts` has them; Kong's where a Kong is at hand."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def _gateways() -> Iterator[Callable[[str], Gateway]]:
    """One gateway of each host, from the first test that wants it to the end of the session.

    As a fixture with a parameter it would be started anew in each file.
    """
    with contextlib.ExitStack() as stack:
        known: dict[str, Gateway] = {}

        def get(name: str) -> Gateway:
            if name not in known:
                known[name] = stack.enter_context(running_gateway(name))
            return known[name]

        yield get


@pytest.fixture(scope="session")
def shared_gateway(host_name: str, _gateways: Callable[[str], Gateway]) -> Gateway:
    """One gateway for the whole session, with whatever the tests before left."""
    return _gateways(host_name)


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Gateway:
    """A gateway without resources and consumers, and without the cost of another process."""
    shared_gateway.clear()
    return shared_gateway


@pytest.fixture
def fresh_gateway(host_name: str) -> Iterator[Gateway]:
    """A gateway of the test's own, to be killed and restarted at will. Slow on Kong."""
    with running_gateway(host_name) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def _variants(shared_gateway: Gateway) -> Iterator[Callable[[dict[str, Any]], Gateway]]:
    with contextlib.ExitStack() as stack:
        known: dict[str, Gateway] = {}

        def make(config: dict[str, Any]) -> Gateway:
            key = json.dumps(config, sort_keys=True)
            if key not in known:
                known[key] = stack.enter_context(variant(shared_gateway, **config))
            return known[key]

        yield make


@pytest.fixture
def gateway_with(
    _variants: Callable[[dict[str, Any]], Gateway],
) -> Callable[..., Gateway]:
    """Return a gateway, cleared, whose plugin of tenant ``a`` has another configuration.

    ``gateway_with(on_deactivate="delete")``: fields of
    :class:`kong_scim.config.plugin.PluginConfig`.
    """

    def make(**config: Any) -> Gateway:
        found = _variants(config)
        found.clear()
        return found

    return make
