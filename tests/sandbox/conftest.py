"""A sandbox as a process of its own, with a declarative file that the tests of a module share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from declared import scim_plugin
from hosts import SandboxHost
from upstreams import echo_server


def key_auth(**config: Any) -> dict[str, Any]:
    return {"name": "key-auth", "config": config}


def acl(**config: Any) -> dict[str, Any]:
    return {"name": "acl", "config": config}


def content(upstream: str) -> dict[str, Any]:
    """Routes for every answer of the guards, and for every way to match."""

    def route(name: str, *plugins: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"name": name, "paths": [f"/{name}"], "plugins": list(plugins), **more}

    return {
        "_format_version": "3.0",
        "plugins": [{"name": "scim-bridge"}],
        "routes": [
            route("scim", scim_plugin("a", "scim-token-a")),
            route("no-service"),
        ],
        "services": [
            {
                "name": "echo",
                "url": "http://echo:8080/base",
                "routes": [
                    route("builtin"),
                    route("kept", strip_path=False),
                    route("tls", protocols=["https"]),
                ],
            },
            {
                "name": "upstream",
                "url": upstream,
                "routes": [
                    # The names of the recording.
                    route("rec-3988b0", key_auth(), acl(allow=["devs"])),
                    route("open"),
                    route("hidden", key_auth(hide_credentials=True)),
                    route("renamed", key_auth(key_names=["x-key", "key"], realm="here")),
                    route("header-only", key_auth(key_in_query=False)),
                    route("denied", key_auth(), acl(deny=["devs"])),
                    route("quiet", key_auth(), acl(allow=["devs"], hide_groups_header=True)),
                    route("acl-alone", acl(allow=["devs"])),
                ],
            },
            {
                "name": "nobody",
                "url": "http://127.0.0.1:1",
                "routes": [route("nobody")],
            },
        ],
        "consumers": [
            {
                "username": "declared",
                "tags": ["from-the-file"],
                "keyauth_credentials": [{"key": "declared-key"}],
                "acls": [{"group": "devs"}, {"group": "ops"}],
            },
            {
                "username": "suspended",
                "tags": ["scim", "scim:suspended"],
                "keyauth_credentials": [{"key": "suspended-key"}],
                "acls": [{"group": "devs"}],
            },
        ],
    }


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxHost]:
    directory: Path = tmp_path_factory.mktemp("sandbox")
    with echo_server() as upstream:
        host = SandboxHost(directory, content(upstream))
        host.start()
        try:
            yield host
        finally:
            host.stop()


@pytest.fixture(scope="module")
def proxy(sandbox: SandboxHost) -> Iterator[httpx.Client]:
    with contextlib.closing(
        httpx.Client(base_url=sandbox.proxy_urls[0], trust_env=False)
    ) as client:
        yield client


@pytest.fixture(scope="module")
def admin(sandbox: SandboxHost) -> Iterator[httpx.Client]:
    with contextlib.closing(httpx.Client(base_url=sandbox.admin_url, trust_env=False)) as client:
        yield client
