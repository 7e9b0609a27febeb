"""Random changes that somebody makes in Kong by hand: each is found, and mended in one pass.

``KONG_SCIM_CHANGES=1000`` makes a thousand of them, and ``KONG_SCIM_SEED`` others.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from drift_support import (
    change_consumer,
    drift,
    give_group,
    kinds,
    only_with_a_database,
    people,
    reconciled,
    take_group,
)

from hosts import Gateway
from outbox import run
from scim_traffic import new_group, patch_each, unique

CHANGES = int(os.environ.get("KONG_SCIM_CHANGES", "33"))
SEED = int(os.environ.get("KONG_SCIM_SEED", "7"))

pytestmark = pytest.mark.long

OURS = ("scim", "scim:a")
DEACTIVATE = {"op": "replace", "value": {"active": False}}


class Hand:
    """An administrator who changes Kong by hand. Each change returns the kinds it must be found as.

    :param groups: The ACL groups that every active user has.
    """

    def __init__(self, gateway: Gateway, groups: list[str], chance: random.Random) -> None:
        self.gateway = gateway
        self.groups = groups
        self.chance = chance

    def deletes(self, user: str) -> set[str]:
        self.gateway.admin.delete(f"/consumers/{user}").raise_for_status()
        return {"consumer_missing"}

    def renames(self, user: str) -> set[str]:
        change_consumer(self.gateway, user, username=unique("renamed"))
        return {"consumer_renamed"}

    def gives_a_custom_id(self, user: str) -> set[str]:
        change_consumer(self.gateway, user, custom_id=unique("custom"))
        return {"consumer_renamed"}

    def untags(self, user: str) -> set[str]:
        change_consumer(self.gateway, user, tags=["mine"])
        return {"consumer_untagged"}

    def takes_a_group(self, user: str) -> set[str]:
        take_group(self.gateway, user, self.chance.choice(self.groups))
        return {"group_missing"}

    def gives_a_group_as_if_scim_had(self, user: str) -> set[str]:
        give_group(self.gateway, user, unique("extra"), *OURS)
        return {"group_extra"}

    def swaps_a_group(self, user: str) -> set[str]:
        return self.takes_a_group(user) | self.gives_a_group_as_if_scim_had(user)

    def forgets_the_user(self, user: str) -> set[str]:
        run(self.gateway, f"DELETE FROM scim_resources WHERE id = '{user}'")
        return {"consumer_orphaned"}

    def gives_a_group_of_its_own(self, user: str) -> set[str]:
        give_group(self.gateway, user, unique("own"))
        return set()

    def tags(self, user: str) -> set[str]:
        tags = self.gateway.consumer(user)["tags"]
        change_consumer(self.gateway, user, tags=[*tags, "mine"])
        return set()


class HandOnSuspended(Hand):
    """The same, for users who are suspended."""

    def gives_a_key(self, user: str) -> set[str]:
        self.gateway.give_key(user)
        return {"credentials_left"}

    def lets_in(self, user: str) -> set[str]:
        tags = self.gateway.consumer(user)["tags"]
        change_consumer(self.gateway, user, tags=[t for t in tags if t != "scim:suspended"])
        return {"not_suspended"}

    def untags(self, user: str) -> set[str]:
        return super().untags(user) | {"not_suspended"}

    def lets_in_with_a_key(self, user: str) -> set[str]:
        return self.lets_in(user) | self.gives_a_key(user)


ACTIVE = (
    Hand.deletes,
    Hand.renames,
    Hand.gives_a_custom_id,
    Hand.untags,
    Hand.takes_a_group,
    Hand.gives_a_group_as_if_scim_had,
    Hand.swaps_a_group,
    Hand.forgets_the_user,
    Hand.gives_a_group_of_its_own,
    Hand.tags,
)
SUSPENDED = (
    Hand.deletes,
    Hand.renames,
    HandOnSuspended.untags,
    HandOnSuspended.gives_a_key,
    HandOnSuspended.lets_in,
    HandOnSuspended.lets_in_with_a_key,
    Hand.gives_a_group_as_if_scim_had,
    Hand.gives_a_group_of_its_own,
)


def test_each_is_found_and_mended_in_one_pass(gateway: Gateway) -> None:
    only_with_a_database(gateway)
    chance = random.Random(SEED)
    users = people(gateway.scim, CHANGES)
    names = [unique("group") for _ in range(2)]
    for name in names:
        new_group(gateway.scim, *users, name=name)
    suspended = set(chance.sample(users, CHANGES // 3))
    patch_each(gateway.scim, ((user, DEACTIVATE) for user in suspended))
    bystanders = [gateway.new_consumer(username=unique("bystander"), tags=["scim-like"])]
    for bystander in bystanders:
        gateway.give_key(bystander["id"])
        give_group(gateway, bystander["id"], names[0])
    before = everything(gateway)
    assert drift(gateway.scim) == []

    expected: set[tuple[str, str]] = set()
    untouched = set(before)
    chance.shuffle(users)
    hands = {True: (HandOnSuspended, SUSPENDED), False: (Hand, ACTIVE)}
    orphans = set()
    for number, user in enumerate(users):
        hand, changes = hands[user in suspended]
        change: Callable[[Any, str], set[str]] = changes[number % len(changes)]
        found = change(hand(gateway, names, chance), user)
        expected |= {(user, kind) for kind in found}
        if found or change in (Hand.gives_a_group_of_its_own, Hand.tags):
            untouched.discard(user)
        orphans |= {user} if "consumer_orphaned" in found else set()
    assert kinds(gateway.scim) == expected
    changed = everything(gateway)

    results = reconciled(gateway.scim)

    assert {(each["user"], each["kind"]) for each in results} == expected
    assert {each["result"] for each in results} == {"mended"}
    assert drift(gateway.scim) == []
    assert reconciled(gateway.scim) == []
    after = everything(gateway)
    assert set(after) == set(before) - orphans
    for consumer in untouched:
        assert after[consumer] == before[consumer]
    mended = {user for user, _ in expected}
    for consumer in set(changed) - mended:
        assert after[consumer] == changed[consumer]  # what is nobody's business was not touched
    for user in mended - orphans:
        assert essence(after[user]) == essence(before[user])


def everything(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """Return every consumer with its ACL groups and keys, by id."""
    found = {}
    for consumer in gateway.consumers():
        paths = {name: f"/consumers/{consumer['id']}/{name}" for name in ("acls", "key-auth")}
        owned = {name: gateway.admin.get(path).json()["data"] for name, path in paths.items()}
        found[consumer["id"]] = {**consumer, **owned}
    return found


def essence(consumer: dict[str, Any]) -> dict[str, Any]:
    """Return what SCIM decides about a consumer."""
    tags = {t for t in consumer["tags"] if not t.startswith(("scim-event:", "scim-revoked-at:"))}
    return {
        "username": consumer["username"],
        "custom_id": consumer["custom_id"],
        "tags": tags - {"mine"},
        "groups": {acl["group"] for acl in consumer["acls"] if "scim:a" in (acl["tags"] or ())},
        "keys": len(consumer["key-auth"]),
    }
