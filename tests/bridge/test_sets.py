"""Steps of one kind are written as a set, and each has its own result and its own error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from steps import acl, consumer, key, new_id, read, tags

from kong_scim.bridge import (
    Bridge,
    BridgeError,
    Delete,
    LastEventTag,
    NamesTakenError,
    Revoke,
    Upsert,
    Vacant,
)

MANY = 7


def groups(bridge: Bridge, owner: str) -> set[str]:
    found = read(bridge, owner)
    return {each.group for each in found.acls} if found else set()


def counted(results: Any) -> list[dict[str, int]]:
    return [result.entities for result in results]


def test_many_groups_are_given_and_those_that_are_there_stay(any_bridge: Bridge) -> None:
    owners = [new_id() for _ in range(MANY)]
    any_bridge.commit([consumer(new_id(), each) for each in owners])
    any_bridge.commit([acl(owners[2], "staff")])

    results = any_bridge.commit([acl(each, "staff", unless_present=True) for each in owners])

    expected = [{"acls": 1}] * MANY
    expected[2] = {}
    assert counted(results) == expected
    assert [groups(any_bridge, each) for each in owners] == [{"staff"}] * MANY


def test_many_groups_are_taken_and_what_is_missing_is_counted_as_nothing(
    any_bridge: Bridge,
) -> None:
    owner = new_id()
    given = [acl(owner, f"g{number}", unless_present=True) for number in range(MANY)]
    any_bridge.commit([consumer(new_id(), owner), *given])
    gone = [Delete("acls", str(each.entity["id"])) for each in given[1:]]

    results = any_bridge.commit([gone[0], Delete("acls", new_id()), *gone[1:], LastEventTag("e")])

    assert counted(results) == [{"acls": 1}, {}, *[{"acls": 1}] * (MANY - 2), {}]
    assert results[-1].data == [{"id": owner}]
    assert groups(any_bridge, owner) == {"g0"}


def test_many_consumers_are_made_and_changed_together(any_bridge: Bridge) -> None:
    old, new, name = new_id(), new_id(), new_id()
    any_bridge.commit([consumer(new_id(), old, custom_id=new_id(), tags=["mine"])])
    before = read(any_bridge, old)

    results = any_bridge.commit(
        [consumer(name, old, tags=["scim"]), consumer(new_id(), new, tags=["scim"])]
    )

    after = read(any_bridge, old)
    assert before
    assert after
    assert counted(results) == [{"consumers": 1}] * 2
    assert (after.username, after.custom_id, after.tags) == (name, before.custom_id, ("scim",))
    assert tags(any_bridge, new) == ["scim"]


def test_many_are_revoked_of_whom_few_have_credentials(any_bridge: Bridge) -> None:
    owners = [new_id() for _ in range(MANY)]
    any_bridge.commit([consumer(new_id(), each) for each in owners])
    any_bridge.commit([key(owners[1]), key(owners[4]), key(owners[4])])

    results = any_bridge.commit([Revoke(each) for each in owners])

    found = [each.get("keyauth_credentials", 0) for each in counted(results)]
    assert found == [0, 1, 0, 0, 2, 0, 0]


def test_a_credential_made_between_two_revocations_is_revoked(any_bridge: Bridge) -> None:
    owner = new_id()
    any_bridge.commit([consumer(new_id(), owner)])
    results = any_bridge.commit([Revoke(owner), key(owner), Revoke(owner)])
    assert counted(results)[2] == {"keyauth_credentials": 1}


@pytest.mark.parametrize("place", [0, 3, MANY - 1])
def test_an_error_within_a_set_is_that_of_its_step(any_bridge: Bridge, place: int) -> None:
    taken, owners = new_id(), [new_id() for _ in range(MANY)]
    any_bridge.commit([consumer(taken, new_id())])
    steps: list[Upsert] = [consumer(new_id(), each) for each in owners]
    steps[place] = consumer(taken, owners[place])

    with pytest.raises(BridgeError) as refused:
        any_bridge.commit(steps)

    assert (refused.value.step, refused.value.code) == (place, 5)
    assert refused.value.fields == {"username": taken}
    assert any_bridge.query(consumer_ids=owners).consumers == []


def test_an_entity_that_is_not_valid_comes_after_an_earlier_step_that_fails(
    any_bridge: Bridge,
) -> None:
    taken, free = new_id(), new_id()
    any_bridge.commit([consumer(taken, new_id())])
    steps = [Vacant(username=(free, taken)), consumer("x", tags=["a,b"])]
    for failing, name in ((steps, "NAMES_TAKEN"), (steps[1:], "schema violation")):
        with pytest.raises(BridgeError) as refused:
            any_bridge.commit(failing)
        assert (refused.value.name, refused.value.step) == (name, 0)


@pytest.mark.parametrize("field", ["id", "username", "custom_id"])
def test_a_name_or_id_that_a_consumer_has_is_not_vacant(any_bridge: Bridge, field: str) -> None:
    values = {"id": new_id(), "username": new_id(), "custom_id": new_id()}
    any_bridge.commit([Upsert("consumers", values)])
    other = consumer(new_id())
    free = Vacant(id=(new_id(), "none"), username=(new_id(),), custom_id=(new_id(),))

    with pytest.raises(NamesTakenError):
        any_bridge.commit([free, Vacant(**{field: (new_id(), values[field])}), other])

    assert read(any_bridge, str(other.entity["id"])) is None
    any_bridge.commit([free, other])


def test_a_large_commit_is_written_like_a_small_one(any_bridge: Bridge) -> None:
    owner = new_id()
    given = [
        acl(owner, f"{number} {'x' * 100}", unless_present=True) for number in range(20 * MANY)
    ]
    results = any_bridge.commit([consumer(new_id(), owner), *given, LastEventTag("e")])
    assert counted(results) == [{"consumers": 1}, *[{"acls": 1}] * len(given), {}]
    assert len(groups(any_bridge, owner)) == len(given)
    assert json.dumps(results[-1].data) == json.dumps([{"id": owner}])
