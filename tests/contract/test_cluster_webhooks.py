"""Webhooks and polls of two nodes on one PostgreSQL: both deliver, and an event is told once."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from joserfc import jwk

from hosts import Gateway, eventually, running_gateway, scim_client
from kong_process import requires_kong
from outbox import events
from receiver import Receiver, receiver
from scim_traffic import new_user, patch_each

pytestmark = [
    pytest.mark.parametrize(
        "host_name",
        [pytest.param("kong-postgres", marks=requires_kong)],
        indirect=True,
        scope="module",
    ),
]

PEOPLE = 20
ROUNDS = 8


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(scope="module")
def cluster(host_name: str, hook: Receiver) -> Iterator[Gateway]:
    config = {
        "webhooks": [{"name": "hr", "url": hook.url, "secret": "s"}],
        "poll": True,
        "signing_key": jwk.ECKey.generate_key("P-256").as_pem(private=True).decode(),
        "allow_http": True,
        "allow_hosts": ["127.0.0.1"],
        "timeout": 5,
    }
    with running_gateway(host_name, events=config) as gateway:
        yield gateway


@contextlib.contextmanager
def nodes(gateway: Gateway) -> Iterator[list[httpx.Client]]:
    """A client of each node."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(scim_client(gateway.scim_base, gateway.token, nodes=[url]))
            for url in gateway.host.proxy_urls
        ]


def change_all(client: httpx.Client, people: list[str], title: str) -> None:
    operation = {"op": "replace", "value": {"title": title}}
    patch_each(client, [(person, operation) for person in people])


def told(hook: Receiver) -> dict[str, list[int]]:
    """The versions that a receiver was told of, by resource, in the order of their arrival."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for post in hook.taken():
        found[post.event["resourceId"]].append(post.event["versionAfter"])
    return found


def in_order(versions: list[int]) -> bool:
    first_time = list(dict.fromkeys(versions))
    return first_time == sorted(first_time)


def test_each_event_arrives_once_and_in_order_though_both_nodes_deliver(
    cluster: Gateway, hook: Receiver
) -> None:
    before = len(events(cluster))
    with nodes(cluster) as (one, other):
        people = [
            new_user((one, other)[number % 2], f"user-{number}")["id"] for number in range(PEOPLE)
        ]
        # Of each user, one change through this node and the next one through that.
        for number in range(ROUNDS):
            change_all((one, other)[number % 2], people, f"title {number}")
    all_events = events(cluster)[before:]
    assert len(all_events) == PEOPLE * (1 + ROUNDS)

    wanted = {event["id"] for event in all_events}
    eventually(
        lambda: {post.event["id"] for post in hook.taken()} >= wanted, "every event to arrive"
    )
    eventually(lambda: states(cluster) == {"delivered"}, "all to be marked")
    counts = Counter(post.event["id"] for post in hook.taken())
    assert {each: count for each, count in counts.items() if count > 1} == {}
    versions = list(range(1, ROUNDS + 2))
    assert {person: told(hook)[person] for person in people} == dict.fromkeys(people, versions)


def test_a_receiver_that_polls_both_nodes_gets_each_event_until_it_acknowledges(
    cluster: Gateway,
) -> None:
    with nodes(cluster) as (one, other):
        people = {new_user(one, f"polled-{number}")["id"] for number in range(6)}
        all_events = [event["id"] for event in events(cluster)]
        seen: list[str] = []
        taken: list[str] = []
        place = 0
        while True:
            node = (one, other)[place % 2]
            place += 1
            body = {"ack": taken, "maxEvents": 50, "returnImmediately": True}
            answer = node.post("/Events/poll", json=body).raise_for_status()
            sets = answer.json()["sets"]
            if not sets:
                break
            taken = list(sets)
            seen += taken
            uris = {
                jwt.decode(token, options={"verify_signature": False})["sub_id"]["uri"]
                for token in sets.values()
            }
            people -= {uri.removeprefix("/Users/") for uri in uris}
    assert seen == all_events
    assert people == set()


def test_a_node_that_is_killed_while_it_delivers_loses_nothing(
    cluster: Gateway, hook: Receiver
) -> None:
    host: Any = cluster.host
    before = len(events(cluster))
    with nodes(cluster) as (one, other):
        people = [
            new_user((one, other)[number % 2], f"late-{number}")["id"] for number in range(PEOPLE)
        ]
        arrived, dead = threading.Event(), threading.Event()

        def held(_: bytes) -> int:
            """Hold what is under way until the node that sends it is dead."""
            arrived.set()
            assert dead.wait(60)
            return 200

        for number in range(ROUNDS):
            if number == ROUNDS // 2:
                hook.behave = held
                change_all(one, people, "right before")
                assert arrived.wait(60)
                host.nodes[0].kill()
                host.plugin_servers[0].kill()
                dead.set()
            node = (one, other)[number % 2] if number < ROUNDS // 2 else other
            change_all(node, people, f"title {number}")
        wanted = dict.fromkeys(people, 2 + ROUNDS)
        eventually(
            lambda: {person: len(set(told(hook)[person])) for person in people} == wanted,
            "every event to arrive by the node that is left",
        )
        host.plugin_servers[0].start()
        host.nodes[0].start()
    cluster.wait()

    all_events = events(cluster)[before:]
    arrived_ids = {post.event["id"] for post in hook.taken()}
    assert {event["id"] for event in all_events} <= arrived_ids
    assert [person for person in people if not in_order(told(hook)[person])] == []
    eventually(lambda: states(cluster) == {"delivered"}, "all to be marked")


def states(gateway: Gateway) -> set[str]:
    """The states of deliveries to the webhook."""
    found: set[str] = set()
    after = 0
    while True:
        answer = gateway.scim.get("/Events/deliveries", params={"after": after})
        page = answer.raise_for_status().json()["deliveries"]
        if not page:
            return found
        after = page[-1]["id"]
        found |= {each["state"] for each in page if each["target"] == "hr"}
