"""A change is told of at once, and not when the next second has come."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hosts import Gateway, eventually, running_gateway
from outbox import waiting
from receiver import Receiver, receiver
from scim_traffic import BULK, new_group, new_user, patch, patch_each, patched_user, user_body


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(host_name: str, hook: Receiver) -> Iterator[Gateway]:
    """A gateway whose tick comes at its start, and then only when a write asks for it."""
    config = {
        "webhooks": [{"name": "hr", "url": hook.url, "secret": "s"}],
        "allow_http": True,
        "allow_hosts": ["127.0.0.1"],
    }
    with running_gateway(host_name, ticks=False, events=config) as running:
        yield running


def told(hook: Receiver, resource: str, operation: str) -> None:
    """Wait until the receiver knows."""

    def knows() -> bool:
        events = [post.event for post in hook.taken()]
        return any(
            (each["resourceId"], each["operation"]) == (resource, operation) for each in events
        )

    eventually(knows, f"{operation} of {resource}")


def versions(hook: Receiver, resource: str) -> list[int]:
    """The versions that the receiver was told of, in order."""
    found = [post.event for post in hook.taken()]
    return [each["versionAfter"] for each in found if each["resourceId"] == resource]


def test_every_kind_of_write_is_delivered_without_the_second_s_tick(
    gateway: Gateway, hook: Receiver
) -> None:
    alice = new_user(gateway.scim, "alice")["id"]
    told(hook, alice, "create")
    patched_user(gateway.scim, alice, {"op": "replace", "value": {"title": "Engineer"}})
    told(hook, alice, "patch")
    answer = gateway.scim.put(f"/Users/{alice}", json=user_body("alice"))
    assert answer.status_code == 200
    told(hook, alice, "replace")
    staff = new_group(gateway.scim, alice)["id"]
    told(hook, staff, "create")
    operation = {"method": "DELETE", "path": f"/Users/{alice}"}
    body = {"schemas": [BULK], "Operations": [operation]}
    assert gateway.scim.post("/Bulk", json=body).status_code == 200
    told(hook, alice, "delete")


def test_many_writes_one_after_the_other_are_all_delivered_in_order(
    gateway: Gateway, hook: Receiver
) -> None:
    bob = new_user(gateway.scim, "bob")["id"]
    told(hook, bob, "create")
    for number in range(20):
        change = {"op": "replace", "path": "title", "value": f"title {number}"}
        assert patch(gateway.any_scim, f"/Users/{bob}", change).status_code == 200
    eventually(lambda: waiting(gateway) == 0, "the events to be sealed")
    wanted = [*range(1, 22)]
    eventually(lambda: len(versions(hook, bob)) >= len(wanted), "every one of many")
    assert versions(hook, bob) == wanted


@pytest.fixture
def slow(hook: Receiver) -> Iterator[None]:
    """A receiver that takes its time."""

    def late(_: bytes) -> int:
        time.sleep(0.1)
        return 200

    before, hook.behave = hook.behave, late
    yield
    hook.behave = before


@pytest.mark.usefixtures("slow")
def test_a_tick_that_has_too_much_to_deliver_is_followed_by_another(
    gateway: Gateway, hook: Receiver
) -> None:
    eve = new_user(gateway.scim, "eve")["id"]
    told(hook, eve, "create")
    changes = [{"op": "replace", "path": "title", "value": f"title {n}"} for n in range(20)]
    patch_each(gateway.scim, [(eve, change) for change in changes])
    wanted = [*range(1, 22)]
    eventually(lambda: len(versions(hook, eve)) >= len(wanted), "every one")
    assert versions(hook, eve) == wanted


def test_a_credential_is_too(gateway: Gateway, hook: Receiver) -> None:
    if not gateway.host.dbless:
        pytest.skip("with a database, Kong's own Admin API writes credentials, and there is none")
    carol = new_user(gateway.scim, "carol")["id"]
    told(hook, carol, "create")
    gateway.give_key("carol")
    told(hook, carol, "credential-add")
