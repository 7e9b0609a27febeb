"""Which consumer a user should be."""

from __future__ import annotations

import pytest
from scim2_models import EnterpriseUser, InvalidValueException
from sync_support import PERSON, config, person

from kong_scim.config.plugin import ConfigurationError, ConsumerMapping
from kong_scim.sync.record import KongUserRecord
from kong_scim.sync.wanted import check_mapping, gone, wanted

EMPLOYEE = f"{EnterpriseUser.__schema__}:employeeNumber"


# -- names -----------------------------------------------------------------


def test_user_name_and_external_id_name_the_consumer():
    user = person("alice@example.com", externalId="00u1")

    consumer = wanted(config(), user, [])

    assert (consumer.id, consumer.username, consumer.custom_id) == (
        user.id,
        "alice@example.com",
        "00u1",
    )


def test_names_may_come_from_any_attribute_of_text_even_of_an_extension():
    user = person(
        name={"familyName": "Jensen"}, **{EnterpriseUser.__schema__: {"employeeNumber": "7"}}
    )
    mapping = {"username": "name.familyName", "custom_id": EMPLOYEE}

    consumer = wanted(config(consumer=mapping), user, [])

    assert (consumer.username, consumer.custom_id) == ("Jensen", "7")


def test_a_user_without_external_id_has_no_custom_id():
    assert wanted(config(), person(), []).custom_id is None


def test_an_empty_mapping_leaves_custom_id_to_administrators():
    consumer = wanted(config(consumer={"custom_id": ""}), person(externalId="00u1"), [])

    assert consumer.custom_id is None
    assert not consumer.manages_custom_id


def test_a_missing_username_is_refused_with_the_attribute_that_is_wanted():
    with pytest.raises(InvalidValueException, match="`nickName` is missing") as caught:
        wanted(config(consumer={"username": "nickName"}), person(), [])
    assert caught.value.scim_type == "invalidValue"


@pytest.mark.parametrize("value", ["a\r\nX-Admin: 1", "a\0", " alice", "alice\u00a0"])
def test_names_that_a_header_would_change_are_refused(value):
    with pytest.raises(InvalidValueException, match="`userName` becomes the `username`"):
        wanted(config(), person(value), [])
    with pytest.raises(InvalidValueException, match="`externalId` becomes the `custom_id`"):
        wanted(config(), person(externalId=value), [])


def test_names_in_any_script_are_kept_as_they_are():
    assert wanted(config(), person("zoë.日本"), []).username == "zoë.日本"


def test_an_adopted_consumer_keeps_its_id():
    consumer_id = "6f3b0c0e-3a5c-4c9e-9d43-0f4e37a9a111"

    assert wanted(config(), person(), [], consumer_id=consumer_id).id == consumer_id


# -- tags ------------------------------------------------------------------


def test_a_consumer_says_in_tags_whose_it_is():
    user = person()

    assert wanted(config(), user, []).tags == ("scim", "scim:okta", f"scim-user:{user.id}")


# -- active, inactive, gone ------------------------------------------------


@pytest.mark.parametrize(
    ("active", "is_in"), [(True, True), (False, False), (None, False)], ids=str
)
def test_only_active_true_lets_somebody_in(active, is_in):
    consumer = wanted(config(), person(active=active), ["Sales"])

    assert consumer.suspended is not is_in
    assert consumer.groups == (("Sales",) if is_in else ())


def test_revoke_closes_all_three_locks():
    consumer = wanted(config(), person(active=False, roles=[{"value": "admin"}]), ["Sales"])

    assert (consumer.suspended, consumer.keeps_credentials, consumer.groups) == (True, False, ())
    assert "scim:suspended" in consumer.tags


def test_suspend_keeps_the_credentials_and_closes_the_other_two_locks():
    consumer = wanted(config(on_deactivate="suspend"), person(active=False), ["Sales"])

    assert (consumer.suspended, consumer.keeps_credentials, consumer.groups) == (True, True, ())
    assert "scim:suspended" in consumer.tags


def test_delete_wants_no_consumer():
    assert not wanted(config(on_deactivate="delete"), person(active=False), ["Sales"]).present


def test_the_name_of_a_group_cannot_stand_in_the_way_of_a_deactivation():
    user = person(active=False, roles=[{"value": "a,b"}])

    assert wanted(config(), user, ["guests, admins"]).groups == ()


def test_a_user_without_a_name_can_be_deleted():
    assert not gone(config(), "6f3b0c0e-3a5c-4c9e-9d43-0f4e37a9a111", None).present


# -- mappings that cannot work ---------------------------------------------


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("usrName", "no schema of a user has this attribute"),
        ("urn:example:2.0:User:badge", "no schema"),
        ("emails.value", "several values"),
        ("active", "not text"),
        ("name", "not text"),
        ("meta.created", "not text"),
        ("password", "secret"),
    ],
)
def test_a_mapping_that_no_user_can_satisfy_is_a_configuration_error(path, problem):
    with pytest.raises(ConfigurationError, match=rf"config\.consumer\.username.*{problem}"):
        check_mapping(ConsumerMapping(username=path), PERSON.model)
    with pytest.raises(ConfigurationError, match=rf"config\.consumer\.custom_id.*{problem}"):
        check_mapping(ConsumerMapping(custom_id=path), PERSON.model)


@pytest.mark.parametrize("path", ["userName", "id", "name.familyName", "externalId", EMPLOYEE])
def test_a_mapping_to_one_text_is_accepted(path):
    check_mapping(ConsumerMapping(username=path, custom_id=path), PERSON.model)


# -- what the user shows of it ---------------------------------------------


def test_the_extension_says_which_consumer_and_which_groups():
    user = person()
    consumer = wanted(config(), user, ["b", "a"])

    assert KongUserRecord.of(consumer).to_scim() == {
        "consumerId": user.id,
        "username": "alice",
        "accessGroups": ["a", "b"],
        "suspended": False,
    }


def test_a_user_without_consumer_shows_none():
    consumer = wanted(config(on_deactivate="delete"), person(active=False), ["a"])

    assert KongUserRecord.of(consumer).to_scim() == {"accessGroups": [], "suspended": True}
