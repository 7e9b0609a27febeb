"""How SCIM groups, roles and entitlements are called in Kong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scim2_models import InvalidValueException
from sync_support import config, person

from kong_scim.config.plugin import GroupMapping
from kong_scim.sync.names import MAX_NAME_BYTES, access_groups, acl_group

# -- map, pattern, as it is ------------------------------------------------


def test_a_group_keeps_its_display_name_where_nothing_is_configured():
    assert acl_group(GroupMapping(), "Platform Team") == "Platform Team"


def test_the_map_wins_over_the_pattern():
    mapping = GroupMapping(map={"kong-admins": "root"}, pattern=r"kong-(.*)")

    assert acl_group(mapping, "kong-admins") == "root"
    assert acl_group(mapping, "kong-readers") == "readers"


def test_the_map_is_exact():
    assert acl_group(GroupMapping(map={"Admins": "root"}), "admins") == "admins"


def test_a_pattern_must_match_the_whole_name():
    assert acl_group(GroupMapping(pattern=r"kong-(\w+)"), "my-kong-readers") == "my-kong-readers"


def test_a_replacement_puts_brackets_and_text_together():
    mapping = GroupMapping(pattern=r"(\w+)/(?P<role>\w+)", replacement=r"\g<role>@\1")

    assert acl_group(mapping, "shop/reader") == "reader@shop"


def test_blanks_around_a_name_are_dropped_as_every_header_reader_does():
    assert acl_group(GroupMapping(), " Sales ") == "Sales"


# -- roles and entitlements ------------------------------------------------


def test_roles_and_entitlements_become_groups_with_their_prefixes():
    user = person(roles=[{"value": "admin"}], entitlements=[{"value": "gold", "primary": True}])

    assert access_groups(config(), user.doc, ["Sales"]) == (
        "Sales",
        "entitlement:gold",
        "role:admin",
    )


def test_prefixes_are_configurable_and_may_be_empty():
    user = person(roles=[{"value": "admin"}], entitlements=[{"value": "gold"}])
    roles = {"roles_prefix": "", "entitlements_prefix": "plan-"}

    assert access_groups(config(roles=roles), user.doc, []) == ("admin", "plan-gold")


def test_roles_are_left_alone_when_turned_off():
    user = person(roles=[{"value": "admin"}])

    assert access_groups(config(roles={"enabled": False}), user.doc, ["Sales"]) == ("Sales",)


def test_a_role_without_a_value_is_no_group():
    assert access_groups(config(), person(roles=[{"display": "Admin"}]).doc, []) == ()


def test_two_groups_with_one_name_in_kong_are_one_acl_group():
    groups = {"map": {"Admins EU": "admins", "Admins US": "admins"}}

    assert access_groups(config(groups=groups), person().doc, ["Admins EU", "Admins US"]) == (
        "admins",
    )


@given(st.lists(st.from_regex(r"[a-z]{1,5}", fullmatch=True)))
def test_groups_are_sorted_and_each_is_there_once(names):
    found = access_groups(config(), person().doc, names)

    assert list(found) == sorted(set(names))


# -- what is refused -------------------------------------------------------


def refusal(mapping, display_name):
    with pytest.raises(InvalidValueException) as caught:
        acl_group(mapping, display_name)
    assert caught.value.status == 400
    assert caught.value.scim_type == "invalidValue"
    return caught.value.detail


def test_a_comma_is_refused_because_upstreams_would_read_two_groups():
    detail = refusal(GroupMapping(), "guests, admins")

    assert "'guests, admins'" in detail
    assert "has a comma" in detail
    assert "groups.map" in detail


def test_a_name_with_a_comma_may_be_mapped_to_one_without():
    assert acl_group(GroupMapping(map={"Sales, EMEA": "sales-emea"}), "Sales, EMEA") == "sales-emea"


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\t", "\x7f", "\x85"])
def test_control_characters_are_refused_because_the_name_becomes_a_header(character):
    assert "control character" in refusal(GroupMapping(), f"a{character}b")


def test_a_name_that_maps_to_nothing_is_refused():
    assert "is empty" in refusal(GroupMapping(pattern=r"kong-(.*)"), "kong-")
    assert "is empty" in refusal(GroupMapping(map={"Sales": ""}), "Sales")


def test_a_name_too_long_for_kongs_index_is_refused_without_repeating_it():
    assert acl_group(GroupMapping(), "ä" * (MAX_NAME_BYTES // 2))
    detail = refusal(GroupMapping(), "ä" * (MAX_NAME_BYTES // 2 + 1))

    assert str(MAX_NAME_BYTES) in detail
    assert len(detail) < 500


def test_a_role_with_a_comma_is_refused_and_named():
    with pytest.raises(InvalidValueException, match=r"'a,b' of `roles`.*has a comma"):
        access_groups(config(), person(roles=[{"value": "a,b"}]).doc, [])


@given(st.text())
def test_every_name_is_either_refused_or_one_printable_group(name):
    try:
        group = acl_group(GroupMapping(), name)
    except InvalidValueException:
        return
    assert group == group.strip() != ""
    assert "," not in group
    assert all(32 <= ord(letter) < 127 or ord(letter) >= 160 for letter in group)
