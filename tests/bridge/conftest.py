"""One Kong with PostgreSQL and one without for all tests of the bridge, of two workers each."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import memories
import pytest
from probe import HERE, Probe, eventually

from kong_process import KongProcess, kong_binary, requires_kong
from kong_scim.bridge import Bridge
from postgres import Postgres, running_postgres

OF_NOBODY = """
local id = "11111111-2222-4333-8444-555555555555"
kong.client.authenticate(nil, { id = "any", consumer_id = id })
"""
"""Authenticates by a credential whose consumer is no more."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server.new_database("kong")


@pytest.fixture(scope="session")
def prefix() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="scim-kong-"))  # short: Kong puts unix sockets there
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def kong(postgres: Postgres, prefix: Path) -> Iterator[KongProcess]:
    process = KongProcess(
        kong_binary(),
        prefix,
        postgres=postgres,
        plugins=("scim-bridge", "scim-probe"),
        lua_path=[HERE],
        env={"KONG_TRUSTED_IPS": "127.0.0.1/32", "SCIM_TEST_SECRET": "s3cret"},
    )
    with process:
        yield process


@pytest.fixture(scope="session")
def access_log(prefix: Path) -> Path:
    return prefix / "access.json"


@pytest.fixture(scope="session")
def probe(kong: KongProcess, access_log: Path) -> Probe:
    """The Kong of the tests, with its routes: ``/probe`` and, behind the guard, ``/api/...``."""
    probe = Probe(kong.proxy_url, kong.admin_url)
    guarded: dict[str, list[dict[str, Any]]] = {
        "key-auth": [{"name": "key-auth"}],
        "basic-auth": [{"name": "basic-auth"}],
        "anonymous": [{"name": "key-auth", "config": {"anonymous": "anonymous"}}],
        "acl": [{"name": "key-auth"}, {"name": "acl", "config": {"allow": ["staff"]}}],
        "jwt": [{"name": "jwt"}],
        "oauth2": [
            {
                "name": "oauth2",
                "config": {
                    "scopes": ["all"],
                    "enable_client_credentials": True,
                    "accept_http_if_already_terminated": True,
                    "global_credentials": True,
                },
            }
        ],
        "gone": [{"name": "pre-function", "config": {"access": [OF_NOBODY]}}],
    }
    probe.post("/routes", name="probe", paths=["/probe"])
    probe.post("/routes/probe/plugins", name="scim-probe")
    probe.post("/routes", name="kept", paths=["/kept/scim"], strip_path=False)
    probe.post("/routes/kept/plugins", name="scim-probe")
    probe.post("/routes", name="regex", paths=[r"~/t/(?<tenant>[a-z]+)/scim$", r"~/t/[a-z]+/scim/"])
    probe.post("/routes/regex/plugins", name="scim-probe")
    probe.post("/consumers", username="anonymous")
    probe.post("/plugins", name="scim-bridge")
    probe.post("/plugins", name="file-log", config={"path": str(access_log), "reopen": True})
    for name, plugins in guarded.items():
        probe.post("/routes", name=name, paths=[f"/api/{name}"])
        for plugin in [*plugins, {"name": "request-termination", "config": {"status_code": 200}}]:
            probe.post(f"/routes/{name}/plugins", **plugin)
    eventually(
        lambda: (
            probe.proxy.get("/api/acl").status_code == 401
            and probe.proxy.get("/api/anonymous").status_code == 200
        ),
        "the routes are there",
    )
    return probe


@pytest.fixture(scope="session")
def dbless_kong() -> Iterator[Probe]:
    with memories.dbless_kong() as probe:
        yield probe


@pytest.fixture(scope="session")
def sandbox_memory() -> Iterator[Bridge]:
    with memories.sandbox_bridge() as bridge:
        yield bridge


@pytest.fixture(scope="session")
def sandbox_database() -> Iterator[Bridge]:
    with memories.sandbox_bridge(dbless=False) as bridge:
        yield bridge


KONG_MEMORY = pytest.param("dbless_kong", marks=requires_kong)
KONG_DATABASE = pytest.param("probe", marks=requires_kong)


@pytest.fixture(params=["sandbox_memory", KONG_MEMORY])
def memory(request: pytest.FixtureRequest) -> Bridge:
    """The bridge of a DB-less Kong."""
    return _bridge_of(request)


@pytest.fixture(params=["sandbox_memory", "sandbox_database", KONG_MEMORY, KONG_DATABASE])
def any_bridge(request: pytest.FixtureRequest) -> Bridge:
    """The bridge of a Kong, be it DB-less or not."""
    return _bridge_of(request)


def _bridge_of(request: pytest.FixtureRequest) -> Bridge:
    host: Probe | Bridge = request.getfixturevalue(request.param)
    return host.bridge if isinstance(host, Probe) else host
