"""The hosts that the contract tests run against: the sandbox and a real Kong, both in two shapes.

Each is there with a database and DB-less. All serve the same declarative content: the plugin
``scim`` for two tenants, and an API that shows what becomes of people. See :class:`Gateway` for
what a test gets.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from declared import GROUP, declaration
from host_processes import PATIENCE, TOKENS, Host, SandboxHost, eventually
from hybrid_processes import HybridHost
from kong_processes import KongHost
from on_clock import Clock
from scim_clients import delete_everything, scim_client, served
from upstreams import directory_server, echo_server

__all__ = [
    "GROUP",
    "PATIENCE",
    "Gateway",
    "Host",
    "HybridHost",
    "KongHost",
    "SandboxHost",
    "eventually",
    "scim_client",
    "served",
]

ROOT = Path(__file__).resolve().parent.parent

DBLESS = ("sandbox-off", "kong-dbless")
"""The hosts without a database."""

HYBRID = ("sandbox-hybrid", "kong-hybrid", "kong-hybrid-deltas")
"""The hosts of a control plane and data planes. On the last, these fetch changes."""


class Gateway:
    """A running gateway, as a test sees it.

    :ivar name: ``sandbox``, ``sandbox-off``, ``kong-postgres``, ``kong-dbless``, ``kong-hybrid`` or
        ``kong-hybrid-deltas``.
    :ivar scim: SCIM client of tenant ``a``, with its token.
    :ivar any_scim: The same, whose requests go to each node of the gateway in turn.
    :ivar other_scim: SCIM client of tenant ``b``: another identity provider on another route.
    :ivar admin: Client of the Admin API.
    :ivar api: Client of the proxy: ``/echo`` wants a key and the group ``employees``, ``/keyed`` a
        key only.
    :ivar host: The processes; on Kong also ``host.kong`` and ``host.postgres``.
    :ivar content: The declarative content; on a DB-less host :meth:`declare` changes it.
    :ivar access_log: What file-log wrote of calls of the API: a JSON object a line.
    :ivar has_net: Whether tenant ``a`` can be put in quarantine.
    """

    def __init__(
        self,
        host: Host,
        content: dict[str, Any],
        path: str = "/scim/v2",
        *,
        has_net: bool = False,
    ) -> None:
        self.host = host
        self.has_net = has_net
        self._family = [self]
        self.name = host.name
        self.content = content
        (file_log,) = content["services"][0]["plugins"]
        self.access_log = Path(file_log["config"]["path"])
        self.proxy_url = host.proxy_urls[0]
        self.scim_base = self.proxy_url + path
        self.token = TOKENS["scim-token-a"]
        self.other_base = self.proxy_url + "/other/scim/v2"
        self.scim = scim_client(self.scim_base, self.token)
        self.any_scim = scim_client(self.scim_base, self.token, nodes=host.proxy_urls)
        self.other_scim = scim_client(self.other_base, TOKENS["scim-token-b"])
        self.admin = httpx.Client(
            base_url=host.admin_url, verify=False, timeout=30, trust_env=False
        )
        self.api = httpx.Client(base_url=self.proxy_url, verify=False, timeout=30, trust_env=False)
        for client in (self.scim, self.any_scim, self.other_scim, self.admin):
            client.event_hooks["request"].append(self._note_write)
        self.api.event_hooks["request"].append(lambda _: host.settle())

    def _note_write(self, request: httpx.Request) -> None:
        """Have the next call of an API wait until it can see what this request writes."""
        self.host.is_settled = self.host.is_settled and request.method == "GET"

    def close(self) -> None:
        """Close the clients; the host goes on."""
        self._family.remove(self)
        for client in (self.scim, self.any_scim, self.other_scim, self.admin, self.api):
            client.close()

    def clear(self) -> None:
        """Delete every SCIM resource of every tenant, and every consumer."""
        guarded = [each for each in self._family if each.has_net]
        for each in guarded:
            each.decide("approve")
        self._delete_everything()
        for each in guarded:
            each.decide("lift")

    def decide(self, decision: str) -> dict[str, Any]:
        """Decide on the quarantine of tenant ``a``, and return how it stands."""
        answer = self.scim.post("/Quarantine", json={"decision": decision}).raise_for_status()
        standing: dict[str, Any] = answer.json()
        return standing

    def _delete_everything(self) -> None:
        for client in [*(each.scim for each in self._family), self.other_scim]:
            delete_everything(client)
        if self.host.dbless:
            if self.content.pop("consumers", None) or self.consumers():
                self.declare()
            return
        for consumer in self.consumers():
            self.admin.delete(f"/consumers/{consumer['id']}").raise_for_status()
        if not self.host.open_source:
            for group in self.consumer_groups():
                self.admin.delete(f"/consumer_groups/{group['name']}").raise_for_status()

    def join(self, other: Gateway) -> None:
        """Have what another one on the same host leaves cleared by either."""
        self._family.append(other)
        other._family = self._family

    def declare(self) -> None:
        """Load :attr:`content` into a DB-less gateway, and wait until it has SCIM's rows again."""
        text = json.dumps(self.content)
        self.admin.post("/config", json={"config": text}).raise_for_status()
        self.wait()

    def new_consumer(self, **fields: Any) -> dict[str, Any]:
        """Make a consumer that is not SCIM's, as an administrator does, and return it."""
        if not self.host.dbless:
            answer = self.admin.post("/consumers", json=fields).raise_for_status()
            self.host.settle()
            made: dict[str, Any] = answer.json()
            return made
        declared = {"id": str(uuid.uuid4()), **fields}
        self.content.setdefault("consumers", []).append(declared)
        self.declare()
        found = self.consumer(declared["id"])
        assert found is not None
        return found

    def consumers(self) -> list[dict[str, Any]]:
        """Return every consumer of the gateway."""
        found: list[dict[str, Any]] = []
        page: str | None = "/consumers?size=1000"
        while page:
            answer = self.admin.get(page).raise_for_status().json()
            found += answer["data"]
            page = answer["next"]
        return found

    def consumer(self, name: str) -> dict[str, Any] | None:
        """Return a consumer by its id or username, or None."""
        answer = self.admin.get(f"/consumers/{name}")
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    def groups_of(self, consumer: str) -> set[str]:
        """Return the ACL groups of a consumer, by its id or username."""
        answer = self.admin.get(f"/consumers/{consumer}/acls?size=1000").raise_for_status()
        return {acl["group"] for acl in answer.json()["data"]}

    def consumer_groups(self) -> list[dict[str, Any]]:
        """Return every consumer group of the gateway."""
        answer = self.admin.get("/consumer_groups?size=1000").raise_for_status()
        return list(answer.json()["data"])

    def consumer_groups_of(self, consumer: str) -> set[str]:
        """Return the consumer groups of a consumer, by its id or username."""
        answer = self.admin.get(f"/consumers/{consumer}/consumer_groups").raise_for_status()
        return {group["name"] for group in answer.json()["consumer_groups"]}

    def give_key(self, consumer: str, key: str | None = None) -> str:
        """Give a consumer an API key, and return it."""
        body = {} if key is None else {"key": key}
        for declared in self.content.get("consumers", []):
            if consumer in (declared["id"], declared.get("username")):
                body = {"key": key or uuid.uuid4().hex}
                declared.setdefault("keyauth_credentials", []).append(body)
                self.declare()
                return body["key"]
        answer = self.admin.post(self.keys_path(consumer), json=body).raise_for_status()
        self.host.settle()
        made: str = answer.json()["key"]
        return made

    def keys_path(self, consumer: str) -> str:
        """Return where the Admin API takes keys for a consumer of SCIM's."""
        return f"{'/scim-bridge' if self.host.dbless else ''}/consumers/{consumer}/key-auth"

    def call(self, key: str, path: str = "/echo") -> httpx.Response:
        """Call an API with a key."""
        return self.api.get(path, headers={"apikey": key})

    def wait(self) -> None:
        """Wait until the plugin answers."""

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                clients = (self.scim, *[self.any_scim] * 2, self.other_scim)
                # Discovery reads nothing of the control plane.
                path = "/Users?count=1" if self.name in HYBRID else "/ServiceProviderConfig"
                return all(served(client.get(path)) for client in clients)
            return False

        eventually(answers, f"the plugin on {self.name}")
        if self.host.dbless:
            eventually(self._is_applied, f"SCIM's rows on {self.name}")

    def _is_applied(self) -> bool:
        """Whether a DB-less gateway takes writes, as it does when it has all rows again."""
        nobody = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "probe"}
        for client in (self.scim, self.other_scim):
            answer = client.post("/Users", json=nobody)
            if "started or configured anew" in answer.text:
                return False
            if answer.status_code == 201:
                deleted = client.delete(f"/Users/{answer.json()['id']}")
                # In quarantine it stays, and in a dry run it is not there.
                if deleted.status_code not in {404, 409}:
                    deleted.raise_for_status()
        return True

    def metrics(self) -> list[str]:
        """Return what each node shows to Prometheus: a Kong on its Status API, which data planes
        have too."""
        nodes = getattr(self.host, "nodes", None)
        urls = [node.status_url for node in nodes] if nodes else [self.host.admin_url]
        return [httpx.get(f"{url}/metrics", verify=False).raise_for_status().text for url in urls]

    def set_guard(self, enabled: bool) -> None:
        """Turn the global plugin scim-bridge on or off."""
        if self.host.dbless:
            (plugin,) = (each for each in self.content["plugins"] if each["name"] == "scim-bridge")
            plugin["enabled"] = enabled
            self.declare()
            return
        for plugin in self.admin.get("/plugins?size=1000").raise_for_status().json()["data"]:
            if plugin["name"] == "scim-bridge" and not plugin["route"]:
                path = f"/plugins/{plugin['id']}"
                self.admin.patch(path, json={"enabled": enabled}).raise_for_status()

    def kill_plugin_server(self) -> None:
        """Kill the plugin server with SIGKILL. A new one is started; see :meth:`wait`."""
        self.host.kill_plugin_server()

    def kill_gateway(self) -> None:
        """Kill one of Kong's workers, or the sandbox, with SIGKILL; it is started again."""
        self.host.kill_gateway()

    def restart(self) -> None:
        """Stop the gateway and its plugin server, start both on the same data, and wait."""
        self.host.stop()
        self.host.start()
        self.wait()


@contextlib.contextmanager
def running_gateway(
    name: str,
    *,
    settings: Mapping[str, str] | None = None,
    beside: Mapping[str, list[Any]] | None = None,
    ticks: bool = True,
    clock: Clock | None = None,
    nodes: int = 2,
    open_source: bool = False,
    control_planes: int = 1,
    **config: Any,
) -> Iterator[Gateway]:
    """Run a host of its own, with an empty store, and wait until its plugin answers.

    :param name: One of :attr:`Gateway.name`.
    :param settings: Further variables of the environment of a real Kong.
    :param beside: Further routes, consumers, ... of its declarative content.
    :param ticks: Whether the tick comes by itself, and not only at the start and when it is asked.
    :param clock: By which its deliveries pause; None for everybody's.
    :param nodes: The nodes of a real Kong with PostgreSQL.
    :param open_source: Whether it lacks the consumer groups of Kong Enterprise.
    :param control_planes: Those of a hybrid Kong.
    :param config: Of the plugin ``scim`` of tenant ``a``, and the rest of :func:`declaration`.
    """
    directory = Path(tempfile.mkdtemp(prefix="scim-host-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        content = declaration(
            stack.enter_context(echo_server()),
            directory / "access.json",
            stack.enter_context(directory_server()),
            **config,
        )
        for kind, entities in (beside or {}).items():
            content.setdefault(kind, []).extend(entities)
        host: Host
        if name.startswith("kong-hybrid"):
            deltas = name == "kong-hybrid-deltas"
            host = HybridHost(
                directory,
                content,
                deltas=deltas,
                settings=settings,
                ticks=ticks,
                clock=clock,
                control_planes=control_planes,
                open_source=open_source,
            )
        elif name.startswith("sandbox"):
            database = name.removeprefix("sandbox").lstrip("-") or "sqlite"
            host = SandboxHost(
                directory,
                content,
                database=database,
                ticks=ticks,
                clock=clock,
                open_source=open_source,
            )
        else:
            host = KongHost(
                directory,
                content,
                dbless=name in DBLESS,
                settings=settings,
                ticks=ticks,
                clock=clock,
                nodes=nodes,
                open_source=open_source,
            )
        stack.callback(host.close)
        host.start()
        gateway = Gateway(host, content, has_net="quarantine" in config)
        stack.callback(gateway.close)
        gateway.wait()
        yield gateway
