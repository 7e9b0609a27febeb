"""The memory of a DB-less Kong takes commits as a database does: the sandbox's, and LMDB."""

from __future__ import annotations

import pytest
from memories import KONG_YML
from probe import Probe
from steps import acl, consumer, groups, key, new_id, read, refusal

from kong_process import requires_kong
from kong_scim.bridge import (
    Bridge,
    BridgeError,
    Delete,
    Epoch,
    Revoke,
    Sql,
    Upsert,
)


@pytest.fixture(name="bridge")
def _bridge(memory: Bridge) -> Bridge:
    return memory


# -- What is written -------------------------------------------------------


def test_entities_that_refer_to_each_other_are_written_together(bridge: Bridge) -> None:
    owner, name = new_id(), new_id()

    results = bridge.commit([consumer(name, owner, custom_id=f"c-{name}"), acl(owner, "staff")])

    assert [result.entities for result in results] == [{"consumers": 1}, {"acls": 1}]
    found = read(bridge, owner)
    assert found is not None
    assert (found.username, found.custom_id) == (name, f"c-{name}")
    assert [each.group for each in found.acls] == ["staff"]


def test_a_consumer_is_found_by_each_of_its_names_and_by_no_old_one(bridge: Bridge) -> None:
    owner, old, new = new_id(), new_id(), new_id()
    bridge.commit([consumer(old, owner, custom_id=f"c-{old}")])

    bridge.commit([consumer(new, owner, custom_id=None)])

    assert [each.id for each in bridge.query(usernames=[new]).consumers] == [owner]
    assert bridge.query(usernames=[old]).consumers == []
    assert bridge.query(custom_ids=[f"c-{old}"]).consumers == []


def test_an_upsert_changes_the_given_fields_and_keeps_the_others(bridge: Bridge) -> None:
    owner, name = new_id(), new_id()
    bridge.commit([consumer(name, owner, custom_id=f"c-{name}", tags=["mine"])])

    bridge.commit([consumer(name, owner, tags=["mine", "scim"])])

    found = read(bridge, owner)
    assert found is not None
    assert (found.custom_id, set(found.tags)) == (f"c-{name}", {"mine", "scim"})


def test_a_name_can_change_its_owner_within_one_commit(bridge: Bridge) -> None:
    one, other, name = new_id(), new_id(), new_id()
    bridge.commit([consumer(name, one)])

    bridge.commit([consumer(f"{name}-before", one), consumer(name, other)])

    assert [each.id for each in bridge.query(usernames=[name]).consumers] == [other]
    assert [each.id for each in bridge.query(usernames=[f"{name}-before"]).consumers] == [one]


def test_a_group_that_is_there_already_is_left_alone(bridge: Bridge) -> None:
    owner = new_id()
    bridge.commit([consumer(new_id(), owner), acl(owner, "staff")])

    results = bridge.commit(
        [acl(owner, "staff", unless_present=True), acl(owner, "dev", unless_present=True)]
    )

    assert [result.entities for result in results] == [{}, {"acls": 1}]
    assert groups(bridge, owner) == ["dev", "staff"]


def test_a_deletion_takes_along_and_counts_what_hangs_on_it(bridge: Bridge) -> None:
    owner, secret = new_id(), new_id()
    bridge.commit([consumer(new_id(), owner), acl(owner, "staff"), key(owner, secret)])

    (result,) = bridge.commit([Delete("consumers", owner)])

    assert result.entities == {"consumers": 1, "acls": 1, "keyauth_credentials": 1}
    assert read(bridge, owner) is None
    other = new_id()
    bridge.commit([consumer(new_id(), other), key(other, secret)])  # the key is free again


def test_a_revocation_takes_every_credential_and_nothing_else(bridge: Bridge) -> None:
    owner = new_id()
    bridge.commit([consumer(new_id(), owner), acl(owner, "staff"), key(owner), key(owner)])

    (result,) = bridge.commit([Revoke(owner)])

    assert result.entities == {"keyauth_credentials": 2}
    assert groups(bridge, owner) == ["staff"]
    assert bridge.commit([Revoke(owner)])[0].entities == {}


def test_what_one_commit_makes_and_takes_away_was_never_there(bridge: Bridge) -> None:
    owner = new_id()

    bridge.commit(
        [consumer(new_id(), owner), key(owner), Revoke(owner), Delete("consumers", owner)]
    )

    assert read(bridge, owner) is None


def test_deleting_what_is_not_there_is_fine(bridge: Bridge) -> None:
    results = bridge.commit([Delete("consumers", new_id()), Revoke(new_id())])

    assert [result.entities for result in results] == [{}, {}]


def test_a_thousand_consumers_are_one_commit(bridge: Bridge) -> None:
    tag, owners = f"t-{new_id()}", [new_id() for _ in range(1000)]

    bridge.commit([consumer(each, each, tags=[tag]) for each in owners])

    assert bridge.tagged(tag) == set(owners)
    bridge.commit([Delete("consumers", each) for each in owners])
    assert bridge.tagged(tag) == set()


# -- What is refused -------------------------------------------------------


@pytest.mark.parametrize("field", ["username", "custom_id"])
@pytest.mark.parametrize("together", [True, False])
def test_a_name_that_is_taken_is_refused_with_the_step(
    bridge: Bridge, field: str, together: bool
) -> None:
    name = new_id()
    first = Upsert("consumers", {"id": new_id(), field: name})
    second = Upsert("consumers", {"id": new_id(), field: name})
    if not together:
        bridge.commit([first])

    error = refusal(bridge, *([first] if together else []), second)

    assert (error.code, error.name) == (5, "unique constraint violation")
    assert error.fields == {field: name}
    assert error.step == int(together)


def test_a_key_that_is_taken_is_refused(bridge: Bridge) -> None:
    owner, secret = new_id(), new_id()
    bridge.commit([consumer(new_id(), owner), key(owner, secret)])

    assert refusal(bridge, key(owner, secret)).code == 5


def test_a_group_twice_is_refused(bridge: Bridge) -> None:
    owner = new_id()
    bridge.commit([consumer(new_id(), owner), acl(owner, "staff")])

    error = refusal(bridge, acl(owner, "staff"))

    assert error.code == 5
    assert error.fields["group"] == "staff"


def test_what_belongs_to_nobody_is_refused(bridge: Bridge) -> None:
    error = refusal(bridge, acl(new_id(), "staff"))

    assert (error.code, error.name) == (4, "foreign key violation")


def test_what_is_against_kongs_schema_is_refused(bridge: Bridge) -> None:
    error = refusal(bridge, Upsert("consumers", {"id": new_id()}))

    assert (error.code, error.name) == (2, "schema violation")


def test_a_refused_commit_leaves_nothing(bridge: Bridge) -> None:
    owner, name = new_id(), new_id()
    bridge.commit([consumer(name)])

    refusal(bridge, consumer(new_id(), owner), acl(owner, "staff"), consumer(name))

    assert read(bridge, owner) is None


def test_sql_is_refused(bridge: Bridge) -> None:
    assert refusal(bridge, Sql("SELECT 1")).name == "BAD_REQUEST"
    with pytest.raises(BridgeError, match="no database"):
        bridge.query([Sql("SELECT 1")])


def test_a_check_says_what_would_be_and_changes_nothing(bridge: Bridge) -> None:
    owner, name = new_id(), new_id()
    bridge.commit([consumer(name, owner), key(owner)])

    results = bridge.commit([Revoke(owner), acl(owner, "staff")], check=True)

    assert [each.entities for each in results] == [{"keyauth_credentials": 1}, {"acls": 1}]
    assert groups(bridge, owner) == []
    assert bridge.commit([Revoke(owner)])[0].entities == {"keyauth_credentials": 1}
    assert refusal(bridge, consumer(name), check=True).code == 5


# -- The epoch -------------------------------------------------------------


def test_a_commit_is_made_in_the_expected_epoch_only(bridge: Bridge) -> None:
    key, owner = f"scim-bridge:{new_id()}", new_id()
    step = consumer(new_id(), owner)

    assert refusal(bridge, step, epoch=Epoch(key, "one")).name == "EPOCH_CHANGED"
    assert refusal(bridge, step, epoch=Epoch(key, "one"), check=True).name == "EPOCH_CHANGED"
    assert read(bridge, owner) is None

    bridge.commit([], epoch=Epoch(key, None, becomes="one"))
    assert bridge.wake(epoch=key).epoch == "one"
    bridge.commit([step], epoch=Epoch(key, "one", becomes="two"))
    assert bridge.wake(epoch=key).epoch == "two"
    assert refusal(bridge, step, epoch=Epoch(key, None)).name == "EPOCH_CHANGED"
    assert read(bridge, owner) is not None


def test_a_check_begins_no_epoch(bridge: Bridge) -> None:
    key = f"scim-bridge:{new_id()}"

    bridge.commit([], epoch=Epoch(key, None, becomes="one"), check=True)

    assert bridge.wake(epoch=key).epoch is None


@requires_kong
def test_a_configuration_that_is_loaded_takes_epoch_and_rows_away_together(
    dbless_kong: Probe,
) -> None:
    key, owner = f"scim-bridge:{new_id()}", new_id()
    step = consumer(new_id(), owner)
    dbless_kong.bridge.commit([step], epoch=Epoch(key, None, becomes="one"))

    dbless_kong.admin.post("/config", json={"config": KONG_YML}).raise_for_status()

    assert dbless_kong.bridge.wake(epoch=key).epoch is None
    assert read(dbless_kong.bridge, owner) is None


# -- Caches ----------------------------------------------------------------


@requires_kong
def test_every_worker_sees_a_commit_at_once_whatever_it_had_cached(
    dbless_kong: Probe,
) -> None:
    owner, secret = new_id(), new_id()
    workers = dbless_kong.of_each_worker()

    def statuses() -> set[int]:
        return {each.get("/api", headers={"apikey": secret}).status_code for each in workers}

    assert statuses() == {401}  # the miss is cached
    dbless_kong.bridge.commit([consumer(new_id(), owner), key(owner, secret)])
    assert statuses() == {200}
    dbless_kong.bridge.commit([consumer(new_id(), owner, tags=["scim", "scim:suspended"])])
    assert statuses() == {403}
    dbless_kong.bridge.commit([consumer(new_id(), owner, tags=["scim"])])
    assert statuses() == {200}
    dbless_kong.bridge.commit([Revoke(owner)])
    assert statuses() == {401}


@requires_kong
def test_many_changes_at_once_are_seen_by_every_worker_too(
    dbless_kong: Probe,
) -> None:
    owners = [(new_id(), new_id()) for _ in range(120)]
    dbless_kong.bridge.commit(
        [each for owner, secret in owners for each in (consumer(owner, owner), key(owner, secret))]
    )
    workers = dbless_kong.of_each_worker()
    asked = owners[::20]

    def statuses() -> set[int]:
        return {
            each.get("/api", headers={"apikey": secret}).status_code
            for each in workers
            for _, secret in asked
        }

    assert statuses() == {200}
    dbless_kong.bridge.commit([Revoke(owner) for owner, _ in owners])
    assert statuses() == {401}
