"""Many at once: nobody's write is lost, and what is decided holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from mixed_writes import MixedWrites

from agreement import disagreements
from hosts import GROUP, Gateway, scim_client
from scim_traffic import get, members_of, new_group, new_user, patch, user_body

TOGETHER = 32


def at_once(
    gateway: Gateway, work: Callable[[httpx.Client, Any], httpx.Response], inputs: Iterable[Any]
) -> list[httpx.Response]:
    """Do something for each input, each over a connection of its own."""

    def alone(each: Any) -> httpx.Response:
        with scim_client(gateway.scim_base, gateway.token) as scim:
            return work(scim, each)

    with ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(alone, inputs))


def adding(group_id: str, user_id: str) -> tuple[str, dict[str, Any]]:
    operation = {"op": "add", "path": "members", "value": [{"value": user_id}]}
    return f"/Groups/{group_id}", operation


def statuses(answers: Iterable[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def test_32_patches_of_one_group_lose_no_member(gateway: Gateway) -> None:
    users = [new_user(gateway.scim, f"user-{number}")["id"] for number in range(TOGETHER)]
    group = new_group(gateway.scim, name=GROUP)["id"]

    answers = at_once(gateway, lambda scim, user: patch(scim, *adding(group, user)), users)

    assert statuses(answers) == {204: TOGETHER}
    assert members_of(gateway.scim, group) == set(users)
    assert all(gateway.groups_of(user) == {GROUP} for user in users)
    assert disagreements(gateway) == []


def test_one_user_joins_32_groups_at_once(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")["id"]
    groups = [new_group(gateway.scim, name=f"group-{number}")["id"] for number in range(TOGETHER)]

    answers = at_once(gateway, lambda scim, group: patch(scim, *adding(group, user)), groups)

    assert statuses(answers) == {204: TOGETHER}
    assert {each["value"] for each in get(gateway.scim, f"/Users/{user}")["groups"]} == set(groups)
    assert disagreements(gateway) == []


def test_who_is_disabled_while_joining_groups_ends_without_access(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")["id"]
    groups = [new_group(gateway.scim, name=f"group-{number}")["id"] for number in range(12)]
    key = gateway.give_key(user)
    off = (f"/Users/{user}", {"op": "replace", "value": {"active": False}})
    work = [adding(group, user) for group in groups]
    work.insert(6, off)

    answers = at_once(gateway, lambda scim, request: patch(scim, *request), work)

    assert set(statuses(answers)) == {200, 204}
    assert gateway.groups_of(user) == set()
    assert gateway.call(key, "/keyed").status_code == 401
    assert disagreements(gateway) == []


def test_a_group_is_renamed_while_members_join(gateway: Gateway) -> None:
    users = [new_user(gateway.scim, f"user-{number}")["id"] for number in range(12)]
    group = new_group(gateway.scim, name="before")["id"]
    work = [adding(group, user) for user in users]
    for number, place in enumerate((3, 7, 11)):
        rename = {"op": "replace", "value": {"displayName": f"after-{number}"}}
        work.insert(place, (f"/Groups/{group}", rename))

    answers = at_once(gateway, lambda scim, request: patch(scim, *request), work)

    assert statuses(answers) == {204: len(work)}
    assert members_of(gateway.scim, group) == set(users)
    assert disagreements(gateway) == []


def test_of_many_who_create_one_user_name_one_wins(gateway: Gateway) -> None:
    names = ["alice", "Alice", "ALICE", "aLICE"] * 4

    answers = at_once(gateway, lambda scim, name: scim.post("/Users", json=user_body(name)), names)

    assert statuses(answers) == {201: 1, 409: len(names) - 1}
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert {each["scimType"] for each in refused} == {"uniqueness"}
    assert disagreements(gateway) == []


def test_of_two_tenants_who_create_one_consumer_one_wins(gateway: Gateway) -> None:
    bases = [(gateway.scim_base, "scim"), (gateway.other_base, "other")] * 4

    def create(_: httpx.Client, which: tuple[str, str]) -> httpx.Response:
        client = gateway.scim if which[1] == "scim" else gateway.other_scim
        return client.post("/Users", json=user_body("alice"))

    answers = at_once(gateway, create, bases)

    assert statuses(answers) == {201: 1, 409: len(bases) - 1}
    assert disagreements(gateway) == []


def test_two_groups_that_join_each_other_at_once_are_both_in_each_other(gateway: Gateway) -> None:
    one, two = (new_group(gateway.scim, name=name)["id"] for name in ("one", "two"))

    answers = at_once(
        gateway,
        lambda scim, pair: patch(scim, *adding(*pair)),
        [(one, two), (two, one)] * 4,
    )

    assert statuses(answers) == {204: 8}
    assert (members_of(gateway.scim, one), members_of(gateway.scim, two)) == ({two}, {one})
    assert disagreements(gateway) == []


@pytest.mark.parametrize("attempts", [3])
def test_a_user_is_deleted_while_joining_a_group(gateway: Gateway, attempts: int) -> None:
    group = new_group(gateway.scim, name=GROUP)["id"]
    for number in range(attempts):
        user = new_user(gateway.scim, f"user-{number}")["id"]
        join = adding(group, user)

        def work(
            scim: httpx.Client, what: str, user: str = user, join: Any = join
        ) -> httpx.Response:
            return scim.delete(f"/Users/{user}") if what == "delete" else patch(scim, *join)

        answers = at_once(gateway, work, ["join", "delete", "join"])

        assert answers[1].status_code == 204
        assert set(statuses(answers)) <= {204, 400}
    assert members_of(gateway.scim, group) == set()
    assert disagreements(gateway) == []


def test_200_mixed_writes_of_8_clients_are_each_answered(gateway: Gateway) -> None:
    writes = MixedWrites(gateway, seed=7, total=200, clients=8)
    writes.start()
    writes.join()

    assert writes.unexpected == []
    assert set(writes.outcomes) <= {"200", "201", "204", "400", "404", "409"}, writes.outcomes
    assert disagreements(gateway) == []
