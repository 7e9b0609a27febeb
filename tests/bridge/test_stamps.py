"""A commit leaves the id of its event on the consumers it wrote anything of, on every host."""

from __future__ import annotations

from steps import acl, consumer, key, new_id, tags

from kong_scim.bridge import Bridge, Delete, LastEventTag, Revoke


def test_a_stamp_is_put_on_whoever_the_commit_wrote_anything_of(any_bridge: Bridge) -> None:
    made, grouped, keyed, other, gone = owners = [new_id() for _ in range(5)]
    any_bridge.commit([consumer(new_id(), each, tags=["mine"]) for each in owners])
    any_bridge.commit([key(keyed)])

    *_, last = any_bridge.commit(
        [
            consumer(new_id(), made, tags=["mine", "scim-event:old"]),
            acl(grouped, "staff"),
            Revoke(keyed),
            Revoke(other),
            Delete("consumers", gone),
            LastEventTag("new"),
        ]
    )

    assert {each["id"] for each in last.data} == {made, grouped, keyed}
    assert (last.rows, last.entities) == (0, {})
    for owner in (made, grouped, keyed):
        assert tags(any_bridge, owner) == ["mine", "scim-event:new"]
    assert tags(any_bridge, other) == ["mine"]


def test_a_stamp_is_put_on_who_is_named_and_taken_away(any_bridge: Bridge) -> None:
    one, other = owners = [new_id(), new_id()]
    any_bridge.commit([consumer(new_id(), one, tags=["mine"]), consumer(new_id(), other)])

    any_bridge.commit([LastEventTag("one", (*owners, new_id()))])
    assert [tags(any_bridge, each) for each in owners] == [
        ["mine", "scim-event:one"],
        ["scim-event:one"],
    ]

    any_bridge.commit([LastEventTag("", tuple(owners))])
    assert [tags(any_bridge, each) for each in owners] == [["mine"], []]


def test_a_commit_that_wrote_nothing_stamps_nobody(any_bridge: Bridge) -> None:
    (result,) = any_bridge.commit([LastEventTag("one")])
    assert result.data == []
