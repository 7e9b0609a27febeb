"""Data planes with their control plane: SCIM is written there, and every data plane hears of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from agreement import disagreements
from hosts import GROUP, Gateway, eventually, running_gateway, scim_client
from kong_process import requires_kong
from outbox import events
from scim_traffic import get, members_of, new_group, new_user, patch, refused, user_body

KONG = [
    pytest.param("kong-hybrid", marks=requires_kong),
    pytest.param("kong-hybrid-deltas", marks=requires_kong),
]

hybrid = pytest.mark.parametrize(
    "host_name", ["sandbox-hybrid", *KONG], indirect=True, scope="session"
)
on_kong = pytest.mark.parametrize("host_name", KONG, indirect=True, scope="session")

WITHIN = 1.0
"""Seconds until every data plane that is connected refuses."""

CLIENTS = 64

ACTIVE = {"op": "replace", "value": {"active": True}}
INACTIVE = {"op": "replace", "value": {"active": False}}


def keyed(gateway: Gateway, key: str, node: int = 0) -> int:
    """Call an API on a data plane, without waiting for its configuration."""
    url = f"{gateway.host.proxy_urls[node]}/keyed"
    return httpx.get(url, verify=False, headers={"apikey": key}, trust_env=False).status_code


def person_with_key(gateway: Gateway, name: str = "alice") -> tuple[dict[str, Any], str]:
    """Make a user whose key every data plane accepts."""
    user = new_user(gateway.scim, name)
    key = gateway.give_key(name)
    assert gateway.call(key, "/keyed").status_code == 200
    return user, key


@hybrid
def test_a_disabled_person_is_refused_on_the_next_request_before_the_configuration_comes(
    gateway: Gateway,
) -> None:
    for number in range(5):
        user, key = person_with_key(gateway, f"user-{number}")
        assert patch(gateway.scim, f"/Users/{user['id']}", INACTIVE).status_code == 200
        assert keyed(gateway, key) in {401, 403}


@hybrid
def test_a_key_from_before_the_deactivation_never_works_again_and_a_new_one_does(
    gateway: Gateway,
) -> None:
    """Also not between the reactivation and the configuration, which still has the old key."""
    user, old = person_with_key(gateway)
    patch(gateway.scim, f"/Users/{user['id']}", INACTIVE).raise_for_status()
    patch(gateway.scim, f"/Users/{user['id']}", ACTIVE).raise_for_status()
    assert {keyed(gateway, old) for _ in range(20)} <= {401, 403}
    new = gateway.give_key("alice")
    eventually(lambda: keyed(gateway, new) == 200, "the new key")
    assert keyed(gateway, old) == 401


@on_kong
def test_the_other_data_plane_refuses_within_a_second(gateway: Gateway) -> None:
    for number in range(5):
        user, key = person_with_key(gateway, f"user-{number}")
        assert keyed(gateway, key, 1) == 200
        patch(gateway.scim, f"/Users/{user['id']}", INACTIVE).raise_for_status()
        deadline = time.monotonic() + WITHIN
        while keyed(gateway, key, 1) == 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@hybrid
def test_a_deleted_person_who_is_made_again_is_let_in_again(gateway: Gateway) -> None:
    user, key = person_with_key(gateway)
    gateway.scim.delete(f"/Users/{user['id']}").raise_for_status()
    assert keyed(gateway, key) in {401, 403}
    person_with_key(gateway)


@hybrid
def test_a_resource_of_some_megabytes_goes_through_the_channel(gateway: Gateway) -> None:
    values = [{"value": f"{number}-{'x' * 500}@example.com"} for number in range(1_800)]
    user = new_user(gateway.scim, "alice", emails=values)
    assert get(gateway.scim, f"/Users/{user['id']}")["emails"] == values
    assert gateway.scim.delete(f"/Users/{user['id']}").status_code == 204


@on_kong
def test_64_clients_that_write_at_both_data_planes_lose_nothing(gateway: Gateway) -> None:
    group = new_group(gateway.scim, name=GROUP)["id"]
    before = len(events(gateway))

    def one(number: int) -> tuple[int, int]:
        node = gateway.host.proxy_urls[number % 2]
        with scim_client(gateway.scim_base, gateway.token, nodes=[node]) as scim:
            made = scim.post("/Users", json=user_body(f"user-{number}"))
            joining = {"op": "add", "path": "members", "value": [{"value": made.json()["id"]}]}
            return made.status_code, patch(scim, f"/Groups/{group}", joining).status_code

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = Counter(pool.map(one, range(CLIENTS)))

    assert answers == {(201, 204): CLIENTS}
    assert len(members_of(gateway.scim, group)) == CLIENTS
    assert disagreements(gateway) == []
    assert len(events(gateway)) - before == 2 * CLIENTS


def cut(gateway: Gateway) -> None:
    """Take the control plane away from the data planes."""
    host: Any = gateway.host
    if gateway.name == "sandbox-hybrid":
        host.connect(False)
    else:
        for node in host.control_planes:
            node.kill()


def restore(gateway: Gateway) -> None:
    host: Any = gateway.host
    if gateway.name == "sandbox-hybrid":
        host.connect(True)
    else:
        for node in host.control_planes:
            node.start()
    gateway.wait()


@hybrid
def test_without_its_control_plane_a_data_plane_writes_nothing_and_apis_go_on(
    gateway: Gateway,
) -> None:
    user, key = person_with_key(gateway)
    _, disabled = person_with_key(gateway, "bob")
    bob = get(gateway.scim, "/Users", filter='userName eq "bob"')["Resources"][0]["id"]
    patch(gateway.scim, f"/Users/{bob}", INACTIVE).raise_for_status()

    cut(gateway)
    try:
        for answer in (
            gateway.scim.post("/Users", json=user_body("carol")),
            patch(gateway.scim, f"/Users/{user['id']}", INACTIVE),
            gateway.scim.get("/Users"),
        ):
            assert "control plane" in refused(answer, 503)
            assert answer.headers["Retry-After"] == "5"
        assert keyed(gateway, key) == 200
        assert keyed(gateway, disabled) in {401, 403}
    finally:
        restore(gateway)

    assert get(gateway.scim, "/Users")["totalResults"] == 2
    assert get(gateway.scim, f"/Users/{user['id']}")["active"] is True
    assert new_user(gateway.scim, "carol")["userName"] == "carol"
    assert disagreements(gateway) == []


@on_kong
def test_a_data_plane_that_starts_from_its_cache_refuses_whom_it_refused_before(
    gateway: Gateway,
) -> None:
    """Although the configuration in its cache is from before the deactivation."""
    host: Any = gateway.host
    user, key = person_with_key(gateway)
    _, other = person_with_key(gateway, "bob")
    patch(gateway.scim, f"/Users/{user['id']}", INACTIVE).raise_for_status()
    cut(gateway)
    try:
        host.kong.kill()
        host.kong.start()
        assert keyed(gateway, other) == 200
        assert {keyed(gateway, key) for _ in range(12)} <= {401, 403}
    finally:
        restore(gateway)


@requires_kong
@pytest.mark.parametrize("host_name", ["kong-hybrid-deltas"], indirect=True, scope="session")
def test_a_data_plane_that_fetched_everything_anew_finds_its_workspace_after_a_start(
    gateway: Gateway,
) -> None:
    """A gap in the numbers of changes, such as a rollback leaves, has it fetch everything."""
    host: Any = gateway.host
    with host.postgres.connect() as connection:
        numbers = "pg_get_serial_sequence('clustering_sync_version', 'version')"
        connection.execute(f"SELECT nextval({numbers})")
    _, key = person_with_key(gateway)
    host.kong.kill()
    host.kong.start()
    gateway.wait()
    assert keyed(gateway, key) == 200


@pytest.fixture(scope="module")
def two_control_planes() -> Iterator[Gateway]:
    with running_gateway("kong-hybrid", control_planes=2) as gateway:
        yield gateway


@requires_kong
def test_with_two_control_planes_each_data_plane_hears_what_the_other_one_wrote(
    two_control_planes: Gateway,
) -> None:
    gateway = two_control_planes
    user, key = person_with_key(gateway)
    patch(gateway.scim, f"/Users/{user['id']}", INACTIVE).raise_for_status()
    deadline = time.monotonic() + WITHIN
    while keyed(gateway, key, 1) == 200:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    eventually(lambda: gateway.call(key, "/keyed").status_code == 401, "the configuration")


@requires_kong
def test_a_data_plane_without_cluster_rpc_answers_501_and_says_why() -> None:
    with running_gateway("kong-hybrid", settings={"KONG_CLUSTER_RPC": "off"}) as gateway:
        for answer in (
            gateway.scim.get("/Users"),
            gateway.scim.post("/Users", json=user_body("alice")),
        ):
            assert "set cluster_rpc = on" in refused(answer, 501)
        stranger = {"Authorization": "Bearer wrong"}
        refused(gateway.scim.get("/Users", headers=stranger), 401)
        host: Any = gateway.host
        assert host.kong.log().count("this is a data plane without cluster_rpc") == 1
        assert "without cluster_rpc" not in host.control_planes[0].log()

        gateway.new_consumer(username="bob", tags=["scim:suspended"])
        key = gateway.give_key("bob")
        assert gateway.call(key, "/keyed").status_code == 403
