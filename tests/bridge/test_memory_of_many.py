"""The memory of a DB-less Kong takes rows of many users at once, and changes of several writers."""

from __future__ import annotations

import json

import pytest
from steps import acl, consumer, groups, new_id, read, refusal

from kong_scim.bridge import (
    Bridge,
    BridgeError,
    Delete,
    Epoch,
    LastEventTag,
    Upsert,
)


@pytest.fixture(name="bridge")
def _bridge(memory: Bridge) -> Bridge:
    return memory


def rows_of(*steps: Upsert, similar: dict[str, str] | None = None) -> str:
    return json.dumps(
        [
            [step.dao, dict(step.entity), similar if step.dao == "consumers" else None]
            for step in steps
        ]
    )


def test_ready_made_rows_are_what_a_commit_of_the_same_entities_writes(bridge: Bridge) -> None:
    epoch = Epoch(new_id(), None)
    one, other = new_id(), new_id()
    tags = ["scim", "scim:a"]
    bridge.commit([consumer("Committed", one, tags=tags, custom_id="c1"), acl(one, "staff")])

    refused = bridge.write_rows(
        [rows_of(consumer("Ready", other, tags=tags, custom_id="c2"), acl(other, "staff"))], epoch
    )

    assert refused == []
    committed, ready = read(bridge, one), read(bridge, other)
    assert committed is not None
    assert ready is not None
    assert (ready.username, ready.custom_id, ready.declared) == ("Ready", "c2", False)
    assert sorted(ready.tags) == sorted(committed.tags)
    assert [each.group for each in ready.acls] == [each.group for each in committed.acls]
    bridge.commit([consumer("Renamed", other), Delete("acls", ready.acls[0].id)])
    assert bridge.query(usernames=["Ready"]).consumers == []
    assert groups(bridge, other) == []


def test_a_user_with_an_id_or_a_name_of_somebody_else_gets_no_row_at_all(bridge: Bridge) -> None:
    holder, name = new_id(), f"name-{new_id()}"
    bridge.commit([consumer(name, holder)])
    same_name, looks_the_same, twice, free = (new_id() for _ in range(4))

    refused = bridge.write_rows(
        [
            rows_of(consumer(new_id(), holder)),
            rows_of(consumer(name, same_name), acl(same_name, "staff")),
            rows_of(consumer(name.upper(), looks_the_same), similar={"username": name}),
            rows_of(consumer(f"{name}-2", free), acl(free, "staff")),
            rows_of(consumer(f"{name}-2", twice)),
        ],
        Epoch(new_id(), None),
    )

    assert refused == [0, 1, 2, 4]
    assert groups(bridge, free) == ["staff"]
    for each in (same_name, looks_the_same, twice):
        assert read(bridge, each) is None


def test_ready_made_rows_are_not_written_under_another_epoch(bridge: Bridge) -> None:
    owner = new_id()

    with pytest.raises(BridgeError) as refused:
        bridge.write_rows([rows_of(consumer(new_id(), owner))], Epoch(new_id(), "another"))

    assert refused.value.name == "EPOCH_CHANGED"
    assert read(bridge, owner) is None


def test_the_last_event_of_each_writer_tags_its_own_consumers(bridge: Bridge) -> None:
    one, other = new_id(), new_id()
    steps = [
        *(consumer(new_id(), one), LastEventTag("first")),
        *(consumer(new_id(), other), LastEventTag("second")),
    ]

    results = bridge.commit(steps, writers=[2, 2])

    assert [result.data for result in results[1::2]] == [[{"id": one}], [{"id": other}]]
    for owner, event in ((one, "first"), (other, "second")):
        found = read(bridge, owner)
        assert found is not None
        assert f"scim-event:{event}" in found.tags


def test_the_step_that_fails_is_counted_over_all_writers(bridge: Bridge) -> None:
    owner = new_id()
    steps = [consumer(new_id(), owner), consumer(new_id()), acl(new_id(), "staff")]

    assert refusal(bridge, *steps, writers=[1, 2]).step == 2
    assert read(bridge, owner) is None


def test_a_checked_draft_is_written_by_its_name(bridge: Bridge) -> None:
    owner, draft = new_id(), new_id()
    steps = [consumer(new_id(), owner)]

    bridge.commit(steps, check=True, draft=draft)
    assert read(bridge, owner) is None
    bridge.commit(steps, draft=draft)

    assert read(bridge, owner) is not None
