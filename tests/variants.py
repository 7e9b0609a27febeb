"""Further routes of a gateway, whose plugin has another configuration."""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from declared import scim_plugin
from hosts import Gateway, SandboxHost, eventually, served
from outbox import waiting


@contextlib.contextmanager
def variant(
    gateway: Gateway, *, in_front: Sequence[dict[str, Any]] = (), **config: Any
) -> Iterator[Gateway]:
    """Run tenant ``a`` with another configuration of the plugin, beside the given gateway.

    It is one more route of the same gateway, so that no test waits for another process.
    """
    digest = hashlib.sha256(json.dumps([config, in_front]).encode()).hexdigest()[:12]
    name, path = f"scim-{digest}", f"/v-{digest}/scim/v2"
    plugins = [*in_front, scim_plugin(f"v-{digest}", "scim-token-a", **config)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(another_route(gateway, name, path, plugins))
        other = Gateway(gateway.host, gateway.content, path, has_net="quarantine" in config)
        stack.enter_context(contextlib.closing(other))
        _wait_for_route(other)
        if not in_front:  # else the token of its client counts for nothing
            gateway.join(other)
        yield other
        if other.scim.get("/Users").is_success:
            other.clear()
            # Nobody would seal the events of a plugin that is no more, and tests wait for that.
            eventually(lambda: waiting(other) == 0, "the events to be sealed")


@contextlib.contextmanager
def another_route(
    gateway: Gateway, name: str, path: str, plugins: Sequence[dict[str, Any]]
) -> Iterator[None]:
    """Add a route with its plugins. A sandbox loses it at the end, and a Kong keeps it."""
    host = gateway.host
    if isinstance(host, SandboxHost):
        # By ids of their own: what is declared without one is another one at another place.
        declared = [{"id": _id_of(name, each["name"]), **each} for each in plugins]
        route = {"id": _id_of(name), "name": name, "paths": [path], "plugins": declared}
        gateway.content["routes"].append(route)
        host.configure(gateway.content)
        yield
        gateway.content["routes"].remove(route)
        host.configure(gateway.content)
        return
    if gateway.admin.get(f"/routes/{name}").is_success:
        pass  # another test has the same configuration
    elif host.dbless:
        gateway.content["routes"].append({"name": name, "paths": [path], "plugins": [*plugins]})
        gateway.declare()
    else:
        gateway.admin.post("/routes", json={"name": name, "paths": [path]}).raise_for_status()
        for each in plugins:
            gateway.admin.post(f"/routes/{name}/plugins", json=each).raise_for_status()
    yield


def _id_of(*names: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, ":".join(names)))


def _wait_for_route(gateway: Gateway) -> None:
    """Wait until every worker has the route: each connection may reach another one."""

    def on_every_worker() -> bool:
        path = httpx.URL(gateway.scim_base).path
        urls = [f"{node}{path}/ServiceProviderConfig" for node in gateway.host.proxy_urls]
        # A new connection each time: a node with several workers may answer by another one.
        times = 1 if isinstance(gateway.host, SandboxHost) else 12
        return all(served(httpx.get(url, verify=False)) for url in urls for _ in range(times))

    eventually(on_every_worker, "the route on every worker")
    gateway.wait()
