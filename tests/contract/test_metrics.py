"""Kong's own /metrics shows what is done for SCIM, on every host."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hosts import Gateway, eventually, scim_client
from outbox import events
from receiver import Receiver, receiver
from scim_traffic import get, new_group, new_user, patched_user, user_body

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()

INACTIVE = {"op": "replace", "value": {"active": False}}


def pages(gateway: Gateway) -> Iterator[str]:
    """The text that each node's Admin API answers."""
    nodes = getattr(gateway.host, "nodes", None)
    urls = [node.admin_url for node in nodes] if nodes else [gateway.host.admin_url]
    for url in urls:
        yield httpx.get(f"{url}/metrics").raise_for_status().text


def total(gateway: Gateway, name: str, **labels: str) -> float:
    """The sum of a metric over all nodes, and over what is not said."""
    return sum(
        sample.value
        for page in pages(gateway)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


class Grown:
    """How much a metric grew since this was made: the gateway may be shared by many tests."""

    def __init__(self, gateway: Gateway, name: str, **labels: str) -> None:
        self._of: tuple[Any, ...] = (gateway, name)
        self._labels = labels
        self._before = self._total()

    def _total(self) -> float:
        return total(*self._of, **self._labels)

    def by(self, wanted: int) -> None:
        """Hold it to a number: counters of a worker are a second late in a node's sum."""
        eventually(lambda: self._total() - self._before >= wanted, f"{self._of[1]} {self._labels}")
        assert self._total() - self._before == wanted


def test_requests_are_counted_by_operation_and_status(gateway: Gateway) -> None:
    def grown(operation: str, status: int) -> Grown:
        labels = {"tenant": "a", "operation": operation, "status": str(status)}
        return Grown(gateway, "kong_scim_requests_total", **labels)

    wanted = [
        (grown("users.create", 201), 2),
        (grown("users.create", 409), 1),
        (grown("users.read", 200), 1),
        (grown("users.read", 404), 1),
        (grown("users.list", 200), 1),
        (grown("users.patch", 200), 1),
        (grown("groups.create", 201), 1),
        (grown("discovery", 200), 1),
        (grown("other", 404), 1),
        (grown("users.list", 401), 1),
    ]
    latency = {"tenant": "a", "operation": "users.create"}
    observed = Grown(gateway, "kong_scim_request_latency_ms_count", **latency)

    user = new_user(gateway.scim, "alice")
    new_user(gateway.scim, "bob")
    gateway.scim.post("/Users", json=user_body("alice"))
    get(gateway.scim, f"/Users/{user['id']}")
    gateway.scim.get("/Users/00000000-0000-0000-0000-000000000000")
    get(gateway.scim, "/Users", filter='userName eq "alice"')
    patched_user(gateway.scim, user["id"], {"op": "add", "value": {"title": "x"}})
    new_group(gateway.scim, user["id"], name="staff")
    get(gateway.scim, "/ServiceProviderConfig")
    gateway.scim.get("/Nothing/of/the/kind")
    with scim_client(gateway.scim_base, "wrong") as stranger:
        stranger.get("/Users")

    for each, count in wanted:
        each.by(count)
    observed.by(3)


def test_no_client_can_make_labels(gateway: Gateway) -> None:
    before = {line.split("{")[0] for page in pages(gateway) for line in page.splitlines()}
    for path in ("/Users%2Fx", "/x-y-z", "/Events/x-y-z", '/"}', "/users/x-y-z/more", "/Me"):
        for method in ("GET", "DELETE", "BREW", "OPTIONS"):
            gateway.scim.request(method, path)
    grown = Grown(gateway, "kong_scim_requests_total", tenant="a", operation="users.list")
    get(gateway.scim, "/Users")
    grown.by(1)
    text = "".join(pages(gateway))
    assert "x-y-z" not in text
    assert "BREW" not in text
    assert before
    operations = {
        sample.labels["operation"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "kong_scim_requests_total"
    }
    verbs = ("list", "create", "read", "replace", "patch", "delete", "search")
    known = {f"{kind}.{verb}" for kind in ("users", "groups", "events") for verb in verbs}
    known |= {"discovery", "bulk", "me", "search", "other"}
    known |= {"events.chain", "events.deliveries", "events.poll"}
    assert operations <= known


def test_a_suspended_consumer_that_is_refused_is_counted(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    patched_user(gateway.scim, user["id"], INACTIVE)
    key = gateway.give_key("alice")
    grown = Grown(gateway, "kong_scim_suspended_refused_total", tenant="a")

    for _ in range(3):
        assert gateway.call(key, "/keyed").status_code == 403

    grown.by(3)


def test_events_are_counted_once_by_type_whichever_node_seals_them(gateway: Gateway) -> None:
    def grown(kind: str) -> Grown:
        return Grown(gateway, "kong_scim_events_total", tenant="a", type=kind)

    events(gateway)  # what was before is sealed
    wanted = [(grown("user.create"), 3), (grown("user.patch"), 1), (grown("user.deactivate"), 1)]
    wanted.append((grown("group.member-add"), 1))

    ids = [new_user(gateway.scim, name)["id"] for name in ("alice", "bob", "carol")]
    new_group(gateway.scim, *ids, name="staff")
    patched_user(gateway.scim, ids[0], INACTIVE)

    for each, count in wanted:
        each.by(count)


def test_what_waits_to_be_sealed_is_measured_with_the_moment(gateway: Gateway) -> None:
    for name in ("kong_scim_outbox_pending", "kong_scim_outbox_oldest_seconds"):
        eventually(lambda name=name: total(gateway, name, tenant="a") == 0, name)
    grown = Grown(gateway, "kong_scim_measured_timestamp_seconds", tenant="a")
    eventually(lambda: grown._total() > grown._before > 1_700_000_000, "another measurement")


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def test_deliveries_are_counted_by_target_and_what_waits_is_measured(
    hook: Receiver, gateway_with: Callable[..., Gateway]
) -> None:
    webhook = {"name": "counted", "url": hook.url, "secret": SECRET}
    loopback = {"allow_http": True, "allow_hosts": ["127.0.0.1"], "timeout": 2}
    gateway = gateway_with(events={"webhooks": [webhook], **loopback})

    def of(name: str, **labels: str) -> float:
        return total(gateway, f"kong_scim_deliveries_{name}", target="counted", **labels)

    def kept(state: str) -> list[dict[str, Any]]:
        page = gateway.scim.get("/Events/deliveries", params={"state": state}).raise_for_status()
        found: list[dict[str, Any]] = page.json()["deliveries"]
        return found

    hook.behave = lambda _: 500
    alice = new_user(gateway.scim)["id"]
    patched_user(gateway.scim, alice, {"op": "add", "value": {"title": "x"}})

    eventually(lambda: of("pending") >= 2, "what waits to be measured")
    eventually(lambda: of("oldest_seconds") > 0, "how long it waits")
    eventually(lambda: of("total", result="failed") > 0, "the failures")
    hook.behave = lambda _: 200
    eventually(lambda: kept("pending") == [], "everything to be delivered")
    done = kept("delivered")
    tried = [attempt["status"] for each in done for attempt in each["attempts"]]
    for result, count in (("delivered", len(done)), ("failed", tried.count(500)), ("dead", 0)):
        eventually(lambda of_=(result, count): of("total", result=of_[0]) == of_[1], result)
    eventually(lambda: of("pending") == of("oldest_seconds") == 0, "nothing to wait")
