"""Two nodes of Kong with a plugin server each on one PostgreSQL: any of them takes any request."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from agreement import disagreements
from hosts import GROUP, Gateway, eventually, scim_client
from kong_process import requires_kong
from outbox import events
from scim_traffic import get, members_of, new_group, new_user, patch, user_body

pytestmark = pytest.mark.parametrize(
    "host_name",
    [pytest.param("kong-postgres", marks=requires_kong)],
    indirect=True,
    scope="session",
)

CLIENTS = 64
UPDATE_FREQUENCY = 1.0
"""Seconds; ``db_update_frequency`` of the tests' nodes."""


@contextlib.contextmanager
def node(gateway: Gateway, number: int) -> Iterator[httpx.Client]:
    """A SCIM client of one node."""
    urls = [gateway.host.proxy_urls[number % len(gateway.host.proxy_urls)]]
    with scim_client(gateway.scim_base, gateway.token, nodes=urls) as client:
        yield client


def on_both(
    gateway: Gateway, work: Callable[[httpx.Client, int], httpx.Response], count: int = CLIENTS
) -> list[httpx.Response]:
    """Do something at once by many clients, one half at each node."""

    def one(number: int) -> httpx.Response:
        with node(gateway, number) as scim:
            return work(scim, number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def active(value: bool) -> dict[str, Any]:
    return {"op": "replace", "value": {"active": value}}


def keyed(gateway: Gateway, number: int, key: str) -> int:
    url = f"{gateway.host.proxy_urls[number]}/keyed"
    return httpx.get(url, verify=False, headers={"apikey": key}, trust_env=False).status_code


def test_what_one_node_writes_the_other_reads_at_once(gateway: Gateway) -> None:
    with node(gateway, 0) as one, node(gateway, 1) as other:
        user = new_user(one, "alice")
        assert get(other, f"/Users/{user['id']}")["userName"] == "alice"
        assert patch(other, f"/Users/{user['id']}", active(False)).status_code == 200
        assert get(one, f"/Users/{user['id']}")["active"] is False


def test_64_clients_that_write_to_both_nodes_lose_nothing(gateway: Gateway) -> None:
    group = new_group(gateway.scim, name=GROUP)["id"]
    before = len(events(gateway))

    made = on_both(gateway, lambda scim, n: scim.post("/Users", json=user_body(f"user-{n}")))
    assert Counter(answer.status_code for answer in made) == {201: CLIENTS}
    users = [answer.json()["id"] for answer in made]
    joined = on_both(
        gateway,
        lambda scim, n: patch(
            scim,
            f"/Groups/{group}",
            {"op": "add", "path": "members", "value": [{"value": users[n]}]},
        ),
    )
    assert Counter(answer.status_code for answer in joined) == {204: CLIENTS}
    disabled = on_both(
        gateway, lambda scim, n: patch(scim, f"/Users/{users[n]}", active(n % 2 == 0))
    )
    assert Counter(answer.status_code for answer in disabled) == {200: CLIENTS}

    assert members_of(gateway.scim, group) == set(users)
    assert disagreements(gateway) == []
    # To set `active` to what it is changes nothing, and is no event.
    found = events(gateway)
    assert len(found) - before == CLIENTS + CLIENTS + CLIENTS // 2
    # Both nodes' ticks sealed them, each event once.
    sequences = [event["sequence"] for event in found]
    assert sequences == list(range(sequences[0], sequences[0] + len(found)))
    assert len({event["id"] for event in found}) == len(found)


def test_of_64_who_change_one_user_each_wins_or_hears_of_it(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    before = len(events(gateway, user["id"]))

    def rename(scim: httpx.Client, number: int) -> httpx.Response:
        title = {"op": "replace", "path": "title", "value": f"title {number}"}
        return patch(scim, f"/Users/{user['id']}", title)

    answers = on_both(gateway, rename)

    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 409, 412, 503}, statuses
    assert statuses[200] >= 1
    found = get(gateway.scim, f"/Users/{user['id']}")
    assert found["meta"]["version"] == f'W/"{1 + statuses[200]}"'
    assert len(events(gateway, user["id"])) - before == statuses[200]
    assert disagreements(gateway) == []


def test_of_two_with_the_same_if_match_one_wins(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    version = {"If-Match": user["meta"]["version"]}
    operation = {"op": "replace", "path": "title", "value": "x"}

    answers = on_both(
        gateway, lambda scim, _: patch(scim, f"/Users/{user['id']}", operation, headers=version), 8
    )

    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 7}


def test_a_revocation_holds_here_at_once_and_there_within_the_bound(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    key = gateway.give_key("alice")
    eventually(lambda: keyed(gateway, 1, key) == 200, "the key at the other node")
    assert keyed(gateway, 0, key) == 200

    with node(gateway, 0) as scim:
        assert patch(scim, f"/Users/{user['id']}", active(False)).status_code == 200

    assert keyed(gateway, 0, key) == 401
    deadline = time.monotonic() + UPDATE_FREQUENCY + 1
    while keyed(gateway, 1, key) != 401:
        assert time.monotonic() < deadline, "the other node still lets it through"
        time.sleep(0.02)


def test_a_node_that_dies_takes_nothing_along(fresh_gateway: Gateway) -> None:
    gateway = fresh_gateway
    host: Any = gateway.host
    user = new_user(gateway.scim, "alice")

    host.nodes[0].kill()
    with node(gateway, 1) as other:
        assert get(other, f"/Users/{user['id']}")["userName"] == "alice"
        new_user(other, "bob")
    host.nodes[0].start()
    gateway.wait()

    assert get(gateway.scim, "/Users")["totalResults"] == 2
    assert disagreements(gateway) == []
