"""What a change of the directory entails in Kong, and when it is refused."""

from __future__ import annotations

import logging

import pytest
from scim2_models import InvalidValueException, UniquenessException
from sync_support import Directory, KongModel, config, person

from kong_scim.bridge import Delete


@pytest.fixture
def kong():
    return KongModel()


@pytest.fixture
def directory(kong):
    return Directory(config(), kong)


# -- the record of a user --------------------------------------------------


def test_a_created_user_shows_its_consumer(directory, kong):
    user = person()
    directory.put(user, "Sales")

    assert directory.record(user.id) == {
        "consumerId": user.id,
        "username": "alice",
        "accessGroups": ["Sales"],
        "suspended": False,
        "lastChange": "2026-01-01T00:00:01.000Z",
    }
    assert kong.groups(user.id) == {"Sales"}


def test_the_last_change_is_when_the_consumer_changed_and_not_the_user(directory):
    user = person()
    directory.put(user)
    directory.change(user.id, title="Engineer")
    assert directory.record(user.id)["lastChange"] == "2026-01-01T00:00:01.000Z"

    directory.change(user.id, userName="bob")
    assert directory.record(user.id)["lastChange"] == "2026-01-01T00:00:03.000Z"


def test_a_user_whose_consumer_stays_the_same_gets_no_new_record(directory):
    user = person()
    directory.put(user, "Sales")

    outcome = directory.regroup({user.id: ["Sales"]})

    assert (outcome.steps, outcome.records) == ((), {})


def test_groups_and_suspension_are_shown(directory):
    user = person()
    directory.put(user, "Sales")
    directory.change(user.id, active=False)

    record = directory.record(user.id)
    assert (record["suspended"], record.get("accessGroups", [])) == (True, [])


# -- however many users ----------------------------------------------------


def test_a_change_of_many_users_reads_kong_once(directory, kong):
    users = [person(f"user-{number}") for number in range(50)]
    for user in users:
        directory.put(user)
    kong.queries = 0

    outcome = directory.regroup({str(user.id): ["Sales"] for user in users})

    assert kong.queries == 1
    assert len(outcome.steps) == 50
    assert all(kong.groups(str(user.id)) == {"Sales"} for user in users)


def test_a_change_without_users_does_not_read_kong(directory, kong):
    directory.regroup({})

    assert kong.queries == 0


def test_a_group_is_refused_by_its_name_while_it_is_empty(directory):
    with pytest.raises(InvalidValueException, match="has a comma"):
        directory.regroup({}, group_name="guests, admins")


# -- what somebody else changed is repaired --------------------------------


def test_a_consumer_that_was_removed_comes_back_with_any_write_of_the_user(directory, kong):
    user = person()
    directory.put(user, "Sales")
    kong.apply([Delete("consumers", user.id)])

    directory.change(user.id, title="Engineer")

    assert kong.consumer(user.id).username == "alice"
    assert kong.groups(user.id) == {"Sales"}


def test_a_consumer_that_was_removed_comes_back_with_any_change_of_its_groups(directory, kong):
    user = person()
    directory.put(user, "Sales")
    kong.apply([Delete("consumers", user.id)])

    directory.regroup({user.id: ["Sales", "Support"]})

    assert kong.groups(user.id) == {"Sales", "Support"}


def test_a_group_that_was_taken_away_by_hand_comes_back(directory, kong):
    user = person()
    directory.put(user, "Sales")
    kong.acls.clear()

    directory.change(user.id, title="Engineer")

    assert kong.groups(user.id) == {"Sales"}


def test_a_consumer_whose_name_was_given_away_since_is_a_clash_that_says_with_what(directory, kong):
    user = person()
    directory.put(user)
    kong.apply([Delete("consumers", user.id)])
    kong.add_consumer("alice")

    with pytest.raises(UniquenessException, match="a consumer that SCIM did not create"):
        directory.regroup({user.id: ["Sales"]})


# -- deactivation ----------------------------------------------------------


def test_a_disabled_user_loses_every_credential_and_group_and_comes_back_without_them(
    directory, kong
):
    user = person()
    directory.put(user, "Sales")
    kong.give_key(user.id)

    directory.change(user.id, active=False)
    assert (kong.keys(user.id), kong.groups(user.id)) == (0, set())
    assert "scim:suspended" in kong.consumer(user.id).tags

    directory.change(user.id, active=True)
    assert (kong.keys(user.id), kong.groups(user.id)) == (0, {"Sales"})
    assert "scim:suspended" not in kong.consumer(user.id).tags


def test_a_disabled_user_gets_no_group_while_it_is_disabled(directory, kong):
    user = person(active=False)
    directory.put(user)

    directory.regroup({user.id: ["Sales"]})

    assert kong.groups(user.id) == set()


def test_delete_on_deactivation_takes_the_consumer_and_reactivation_makes_it_again(kong):
    directory = Directory(config(on_deactivate="delete"), kong)
    user = person()
    directory.put(user, "Sales")

    directory.change(user.id, active=False)
    assert kong.consumers == {}
    assert "consumerId" not in directory.record(user.id)
    assert directory.record(user.id)["suspended"] is True

    directory.change(user.id, active=True)
    assert kong.groups(user.id) == {"Sales"}
    assert directory.record(user.id)["consumerId"] == user.id


def test_a_user_created_inactive_has_no_consumer_where_deactivation_deletes(kong):
    directory = Directory(config(on_deactivate="delete"), kong)
    directory.put(person(active=False))

    assert kong.consumers == {}


def test_a_deleted_user_takes_its_consumer_along(directory, kong):
    user = person()
    directory.put(user, "Sales")
    kong.give_key(user.id)

    directory.delete(user.id)

    assert (kong.consumers, kong.acls, kong.credentials) == ({}, {}, {})


# -- names that are taken --------------------------------------------------


def clash(directory, user):
    before = directory.kong.consumers.copy()
    with pytest.raises(UniquenessException) as caught:
        directory.put(user)
    assert caught.value.status == 409
    assert caught.value.scim_type == "uniqueness"
    assert directory.kong.consumers == before
    return caught.value.detail


def test_a_consumer_scim_did_not_create_is_not_taken_over(directory, kong):
    id_ = kong.add_consumer("alice", tags=["gold"])

    detail = clash(directory, person("alice"))

    assert id_ not in detail
    assert "belongs to a consumer that SCIM did not create" in detail
    assert "`adopt: link`" in detail
    assert "Rename one of the two" in detail


def test_a_custom_id_is_never_shared_and_the_refusal_names_it(kong):
    directory = Directory(config(adopt="link"), kong)
    kong.add_consumer("somebody", custom_id="00u1")

    detail = clash(directory, person("alice", externalId="00u1"))

    assert "The custom_id '00u1' (from `externalId`) belongs to a consumer" in detail
    assert "adopt" not in detail


def test_another_tenants_consumer_is_never_taken_over(kong):
    Directory(config(tenant="entra"), kong).put(person("alice"))

    detail = clash(Directory(config(adopt="link"), kong), person("alice"))

    assert "a consumer that this provider does not manage" in detail


def test_two_users_of_one_tenant_cannot_be_one_consumer_and_the_refusal_names_the_other(kong):
    directory = Directory(config(consumer={"username": "nickName"}, adopt="link"), kong)
    first = person("alice", nickName="al")
    directory.put(first)

    detail = clash(directory, person("alan", nickName="al"))

    assert f"of the user {first.id}" in detail
    assert "map an attribute that is unique" in detail


def test_a_rename_meets_the_same_rules_and_is_never_a_take_over(kong):
    directory = Directory(config(adopt="link"), kong)
    user = person("alice")
    directory.put(user)
    kong.add_consumer("bob")

    with pytest.raises(UniquenessException, match="Rename one of the two") as caught:
        directory.change(user.id, userName="bob")
    assert "adopt" not in caught.value.detail
    assert kong.consumer(user.id).username == "alice"


def test_a_change_that_keeps_the_name_asks_for_no_name(directory, kong):
    user = person()
    directory.put(user)
    asked = []
    query = kong.query
    kong.query = lambda **wanted: asked.append(wanted) or query(**wanted)

    directory.change(user.id, title="Engineer")

    assert asked == [{"consumer_ids": [user.id], "usernames": [], "custom_ids": []}]


# -- adoption --------------------------------------------------------------


@pytest.fixture
def adopting(kong):
    return Directory(config(adopt="link"), kong)


def test_link_takes_the_consumer_over_with_its_keys_tags_and_groups(adopting, kong, caplog):
    id_ = kong.add_consumer("alice", tags=["gold"])
    kong.give_key(id_)
    kong.give_group(id_, "beta")
    user = person()

    with caplog.at_level(logging.INFO, logger="kong_scim"):
        adopting.put(user, "Sales")

    assert list(kong.consumers) == [id_]
    assert set(kong.consumer(id_).tags) == {"scim", "scim:okta", f"scim-user:{user.id}", "gold"}
    assert kong.keys(id_) == 1
    assert kong.groups(id_) == {"beta", "Sales"}
    assert adopting.record(user.id)["consumerId"] == id_
    assert f"user {user.id}: consumer {id_} is adopted" in caplog.text


def test_an_adopted_consumer_is_the_users_from_then_on(adopting, kong):
    id_ = kong.add_consumer("alice")
    user = person()
    adopting.put(user, "Sales")

    adopting.change(user.id, userName="alice.b")
    assert kong.consumer(id_).username == "alice.b"

    kong.give_key(id_)
    adopting.change(user.id, active=False)
    assert kong.keys(id_) == 0
    assert "scim:suspended" in kong.consumer(id_).tags

    adopting.delete(user.id)
    assert kong.consumers == {}


def test_a_user_whose_consumer_was_replaced_by_hand_adopts_the_new_one(adopting, kong):
    user = person()
    adopting.put(user, "Sales")
    kong.apply([Delete("consumers", user.id)])
    id_ = kong.add_consumer("alice")

    adopting.change(user.id, title="Engineer")

    assert adopting.record(user.id)["consumerId"] == id_
    assert kong.groups(id_) == {"Sales"}


def test_an_inactive_user_adopts_a_consumer_and_closes_it(adopting, kong):
    id_ = kong.add_consumer("alice")
    kong.give_key(id_)

    adopting.put(person(active=False))

    assert "scim:suspended" in kong.consumer(id_).tags
    assert kong.keys(id_) == 0


def test_a_custom_id_outside_the_mapping_survives_adoption(kong):
    directory = Directory(config(adopt="link", consumer={"custom_id": ""}), kong)
    id_ = kong.add_consumer("alice", custom_id="legacy-7")

    directory.put(person(externalId="00u1"))

    assert kong.consumer(id_).custom_id == "legacy-7"


def test_a_suspension_set_by_hand_is_not_lifted_by_adoption(adopting, kong):
    kong.add_consumer("alice", tags=["scim:suspended"])

    clash(adopting, person("alice"))
