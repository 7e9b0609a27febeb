"""Kong's own /metrics shows what is done for SCIM, on every host."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hosts import Gateway, eventually, scim_client
from outbox import events
from receiver import Receiver, receiver
from scim_traffic import SEARCH, get, new_group, new_user, patched_user, user_body

pytestmark = pytest.mark.long

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()

INACTIVE = {"op": "replace", "value": {"active": False}}


def total(gateway: Gateway, name: str, **labels: str) -> float:
    """The sum of a metric over all nodes, and over what is not said."""
    return sum(
        sample.value
        for page in gateway.metrics()
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def counted(gateway: Gateway, name: str, wanted: int, **labels: str) -> None:
    """Hold a counter to a number, from the gateway's start: a worker tells its node a second late.

    That is also why each test has a tenant of its own. Of another test's, some is yet to come.
    """
    eventually(lambda: total(gateway, name, **labels) >= wanted, f"{name} {labels}")
    assert total(gateway, name, **labels) == wanted


def users_created(gateway: Gateway) -> int:
    """How many the trail knows: beside a test's own the one that asks if a DB-less Kong writes."""
    made = [each for each in events(gateway) if each["operation"] == "create"]
    return sum(each["resourceType"] == "User" for each in made)


def test_requests_are_counted_by_operation_and_status(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(tenant="requests")

    user = new_user(gateway.scim, "alice")
    gateway.scim.post("/Users", json=user_body("alice"))
    get(gateway.scim, f"/Users/{user['id']}")
    get(gateway.scim, "/Users")
    get(gateway.scim, "/Schemas")
    gateway.scim.get("/Users/00000000-0000-0000-0000-000000000000")
    for title in ("x", "y"):
        patched_user(gateway.scim, user["id"], {"op": "add", "value": {"title": title}})
    gateway.scim.put(f"/Users/{user['id']}", json=user_body("alice")).raise_for_status()
    new_group(gateway.scim, user["id"], name="staff")
    gateway.scim.post("/Users/.search", json={"schemas": [SEARCH]}).raise_for_status()
    gateway.scim.get("/Users", params={"filter": "userName eq"})
    gateway.scim.get("/Schemas/urn:nobody:knows:this")
    gateway.scim.get("/Nothing/of/the/kind")
    with scim_client(gateway.scim_base, "wrong") as stranger:
        stranger.get("/Users")

    # Not of what the tests' own preparation sends too: lists, deletions, the provider's metadata.
    for operation, status, count in (
        ("users.create", 409, 1),
        ("users.read", 200, 1),
        ("users.read", 404, 1),
        ("users.patch", 200, 2),
        ("users.replace", 200, 1),
        ("groups.create", 201, 1),
        ("users.search", 200, 1),
        ("other", 404, 1),
        ("users.list", 400, 1),
        ("users.list", 401, 1),
        ("discovery", 404, 1),
        ("users.create", 201, users_created(gateway)),
    ):
        labels = {"tenant": "requests", "operation": operation, "status": str(status)}
        counted(gateway, "kong_scim_requests_total", count, **labels)
    patches = {"tenant": "requests", "operation": "users.patch"}
    counted(gateway, "kong_scim_request_latency_ms_count", 2, **patches)
    for operation in ("discovery", "users.list"):
        labels = {"tenant": "requests", "operation": operation, "status": "200"}
        eventually(
            lambda labels=labels: total(gateway, "kong_scim_requests_total", **labels) > 0,
            operation,
        )


def test_requests_whose_body_is_not_canonical_are_counted(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(tenant="spelled")
    user = new_user(gateway.scim, "plain")
    patched_user(gateway.scim, user["id"], INACTIVE)
    gateway.scim.post("/Users", json={**user_body("odd"), "ACTIVE": "True"}).raise_for_status()
    patched_user(gateway.scim, user["id"], {"op": "Replace", "path": "active", "value": "False"})
    counted(gateway, "kong_scim_long_way_total", 2, tenant="spelled")


def test_no_client_can_make_labels(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(tenant="strange")
    for path in ("/Users%2Fx", "/x-y-z", "/Events/x-y-z", '/"}', "/users/x-y-z/more", "/Me"):
        for method in ("GET", "DELETE", "BREW", "OPTIONS"):
            gateway.scim.request(method, path)
    gateway.scim.post("/Users/.search", json={"schemas": [SEARCH]}).raise_for_status()
    last = {"tenant": "strange", "operation": "users.search"}
    counted(gateway, "kong_scim_requests_total", 1, **last)
    text = "".join(gateway.metrics())
    assert "x-y-z" not in text
    assert "BREW" not in text
    operations = {
        sample.labels["operation"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "kong_scim_requests_total"
    }
    verbs = ("list", "create", "read", "replace", "patch", "delete", "search")
    known = {f"{kind}.{verb}" for kind in ("users", "groups", "events") for verb in verbs}
    known |= {"discovery", "bulk", "me", "search", "other"}
    known |= {"access-review", "doctor", "drift", "mapping", "overview", "people", "requests"}
    known |= {"events.chain", "events.deliveries", "events.poll"}
    assert operations <= known


def test_a_suspended_consumer_that_is_refused_is_counted(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(tenant="refused")
    user = new_user(gateway.scim, "alice")
    patched_user(gateway.scim, user["id"], INACTIVE)
    key = gateway.give_key("alice")

    for _ in range(3):
        assert gateway.call(key, "/keyed").status_code == 403

    counted(gateway, "kong_scim_suspended_refused_total", 3, tenant="refused")


def test_events_are_counted_once_by_type_whichever_node_seals_them(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(tenant="sealed")

    ids = [new_user(gateway.any_scim, name)["id"] for name in ("alice", "bob", "carol")]
    new_group(gateway.any_scim, *ids[:2], name="staff")
    patched_user(gateway.any_scim, ids[0], INACTIVE)

    for kind, count in (
        ("user.patch", 1),
        ("user.deactivate", 1),
        ("group.create", 1),
        ("group.member-add", 1),
    ):
        counted(gateway, "kong_scim_events_total", count, tenant="sealed", type=kind)
    created = users_created(gateway)
    assert created >= 3
    counted(gateway, "kong_scim_events_total", created, tenant="sealed", type="user.create")


def test_what_waits_to_be_sealed_is_measured_with_the_moment(gateway: Gateway) -> None:
    for name in ("kong_scim_outbox_pending", "kong_scim_outbox_oldest_seconds"):
        eventually(lambda name=name: total(gateway, name, tenant="a") == 0, name)
    name = "kong_scim_measured_timestamp_seconds"
    # Where a configuration was loaded just now, what was measured before is forgotten.
    eventually(lambda: total(gateway, name, tenant="a") > 1_700_000_000, "a measurement")
    before = total(gateway, name, tenant="a")
    eventually(lambda: total(gateway, name, tenant="a") > before, "another one")


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
