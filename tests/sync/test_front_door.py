"""What an identity provider's requests make of Kong, seen from outside, on every host."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

from front_door import consumer, join, leave, make_group, only_with_a_database, replace, shown

from hosts import GROUP, Gateway
from kong_scim.sync.names import MAX_NAME_BYTES
from scim_traffic import CORE_GROUP, get, new_user, refused, user_body
from scim_traffic import patch as patched

# -- users -----------------------------------------------------------------


def test_a_user_becomes_a_consumer_that_says_whose_it_is(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice@example.com", externalId="00u1")

    found = consumer(gateway, user["id"])

    assert found["username"] == "alice@example.com"
    assert found["custom_id"] == "00u1"
    assert {"scim", "scim:a", f"scim-user:{user['id']}"} < set(found["tags"])
    record = shown(gateway.scim, user)
    assert record["consumerId"] == user["id"]
    assert record["username"] == "alice@example.com"
    assert record["suspended"] is False


def test_a_renamed_user_keeps_its_consumer_with_keys_and_groups(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    make_group(gateway.scim, GROUP, user)
    key = gateway.give_key(user["id"])

    replace(gateway.scim, f"/Users/{user['id']}", userName="alice.b")

    assert consumer(gateway, user["id"])["username"] == "alice.b"
    answer = gateway.call(key)
    assert answer.status_code == 200
    assert answer.json()["headers"]["x-consumer-username"] == "alice.b"


def test_a_deleted_user_takes_its_consumer_and_key_along(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    make_group(gateway.scim, GROUP, user)
    key = gateway.give_key(user["id"])
    assert gateway.call(key).status_code == 200

    assert gateway.scim.delete(f"/Users/{user['id']}").status_code == 204

    assert gateway.consumers() == []
    assert gateway.call(key).status_code == 401


def test_groups_an_administrator_gave_stay(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    make_group(gateway.scim, "staff", user)
    only_with_a_database(gateway)
    acl = {"group": "beta"}
    gateway.admin.post(f"/consumers/{user['id']}/acls", json=acl).raise_for_status()
    assert gateway.groups_of(user["id"]) == {"staff", "beta"}

    replace(gateway.scim, f"/Users/{user['id']}", active=False)

    assert gateway.groups_of(user["id"]) == {"beta"}


def test_a_consumer_that_was_removed_by_hand_comes_back_with_the_next_write(
    gateway: Gateway,
) -> None:
    only_with_a_database(gateway)
    user = new_user(gateway.scim, "alice")
    group = make_group(gateway.scim, "staff", user)
    for write in (
        lambda: replace(gateway.scim, f"/Users/{user['id']}", title="Engineer"),
        lambda: replace(gateway.scim, f"/Groups/{group['id']}", displayName="people"),
    ):
        gateway.admin.delete(f"/consumers/{user['id']}").raise_for_status()
        write()
        assert consumer(gateway, user["id"])["username"] == "alice"

    assert gateway.groups_of(user["id"]) == {"people"}


# -- groups ----------------------------------------------------------------


def test_a_group_opens_the_api_to_its_members_and_says_so_upstream(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    key = gateway.give_key(user["id"])
    assert gateway.call(key).status_code == 403

    make_group(gateway.scim, GROUP, user)

    answer = gateway.call(key)
    assert answer.status_code == 200
    assert answer.json()["headers"]["x-consumer-groups"] == GROUP
    assert shown(gateway.scim, user)["accessGroups"] == [GROUP]


def test_a_renamed_group_is_another_acl_group_for_each_member(gateway: Gateway) -> None:
    users = [new_user(gateway.scim, name) for name in ("alice", "bob")]
    group = make_group(gateway.scim, "staff", *users)

    replace(gateway.scim, f"/Groups/{group['id']}", displayName="people")

    for user in users:
        assert gateway.groups_of(user["id"]) == {"people"}


def test_who_leaves_a_group_is_refused_on_the_next_call_and_the_others_are_not(
    gateway: Gateway,
) -> None:
    alice, bob = (new_user(gateway.scim, name) for name in ("alice", "bob"))
    group = make_group(gateway.scim, GROUP, alice, bob)
    keys = [gateway.give_key(user["id"]) for user in (alice, bob)]
    assert [gateway.call(key).status_code for key in keys] == [200, 200]

    leave(gateway.scim, group, alice)

    assert [gateway.call(key).status_code for key in keys] == [403, 200]


def test_a_deleted_group_is_taken_from_every_member(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    group = make_group(gateway.scim, "staff", user)

    assert gateway.scim.delete(f"/Groups/{group['id']}").status_code == 204

    assert gateway.groups_of(user["id"]) == set()


def test_a_member_of_a_nested_group_is_in_the_groups_above_it(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    inner = make_group(gateway.scim, "platform", user)
    outer = make_group(gateway.scim, "engineering", inner)
    assert gateway.groups_of(user["id"]) == {"platform", "engineering"}

    leave(gateway.scim, outer, inner)

    assert gateway.groups_of(user["id"]) == {"platform"}


def test_roles_and_entitlements_become_groups_with_prefixes(gateway: Gateway) -> None:
    user = new_user(gateway.scim, roles=[{"value": "admin"}], entitlements=[{"value": "gold"}])

    assert gateway.groups_of(user["id"]) == {"role:admin", "entitlement:gold"}


def test_groups_are_named_by_map_then_pattern_then_as_they_are(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(groups={"map": {"kong-root": "admins"}, "pattern": "kong-(.*)"})
    user = new_user(gateway.scim, "alice")
    for name in ("kong-root", "kong-readers", "staff"):
        make_group(gateway.scim, name, user)

    assert gateway.groups_of(user["id"]) == {"admins", "readers", "staff"}


def test_a_group_with_a_comma_is_refused_while_it_is_empty(gateway: Gateway) -> None:
    body = {"schemas": [CORE_GROUP], "displayName": "guests, admins"}

    detail = refused(gateway.scim.post("/Groups", json=body), 400, "invalidValue")

    assert "has a comma" in detail
    assert get(gateway.scim, "/Groups")["totalResults"] == 0


def test_a_group_is_not_renamed_to_what_an_upstream_would_read_as_two(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    group = make_group(gateway.scim, "guests", user)
    operation = {"op": "replace", "path": "displayName", "value": "guests, admins"}

    refused(patched(gateway.scim, f"/Groups/{group['id']}", operation), 400, "invalidValue")

    assert gateway.groups_of(user["id"]) == {"guests"}


def test_the_longest_names_fit_into_the_indexes_of_the_database(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(consumer={"username": "nickName", "custom_id": "title"})
    letters = "".join(random.Random(7).choices(string.ascii_letters, k=3 * MAX_NAME_BYTES))
    nick_name, title, group = (letters[start::3] for start in range(3))  # no two compress
    role = group[len("role:") :]

    user = new_user(gateway.scim, "alice", nickName=nick_name, title=title, roles=[{"value": role}])

    assert consumer(gateway, user["id"])["username"] == nick_name
    assert gateway.groups_of(user["id"]) == {f"role:{role}"}
    longer = user_body("bob", nickName=nick_name + "x")
    assert "longer than" in refused(gateway.scim.post("/Users", json=longer), 400, "invalidValue")


# -- who leaves, and comes back --------------------------------------------


def test_a_disabled_user_is_refused_by_three_locks_and_comes_back_without_its_key(
    gateway: Gateway,
) -> None:
    user = new_user(gateway.scim, "alice")
    group = make_group(gateway.scim, GROUP, user)
    key = gateway.give_key(user["id"])
    assert gateway.call(key).status_code == 200

    leave(gateway.scim, group, user)
    assert gateway.call(key).status_code == 403
    join(gateway.scim, group, user)
    assert gateway.call(key).status_code == 200

    replace(gateway.scim, f"/Users/{user['id']}", active=False)
    assert gateway.call(key).status_code == 401  # the credential is gone
    assert gateway.groups_of(user["id"]) == set()
    assert "scim:suspended" in consumer(gateway, user["id"])["tags"]
    assert shown(gateway.scim, user)["suspended"] is True

    meanwhile = gateway.give_key(user["id"])
    answer = gateway.call(meanwhile, "/keyed")  # the guard, where no acl stands
    assert (answer.status_code, "suspended" in answer.text) == (403, True)

    replace(gateway.scim, f"/Users/{user['id']}", title="Engineer")
    assert gateway.call(meanwhile, "/keyed").status_code == 401  # gone with the next change

    replace(gateway.scim, f"/Users/{user['id']}", active=True)
    assert "scim:suspended" not in consumer(gateway, user["id"])["tags"]
    assert gateway.groups_of(user["id"]) == {GROUP}
    assert gateway.call(key).status_code == 401
    assert gateway.call(gateway.give_key(user["id"])).status_code == 200


def test_a_user_created_inactive_is_a_suspended_consumer(gateway: Gateway) -> None:
    user = new_user(gateway.scim, active=False)
    make_group(gateway.scim, GROUP, user)

    assert "scim:suspended" in consumer(gateway, user["id"])["tags"]
    assert gateway.groups_of(user["id"]) == set()
    assert gateway.call(gateway.give_key(user["id"]), "/keyed").status_code == 403


def test_suspend_keeps_the_credentials_for_the_day_of_return(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(on_deactivate="suspend")
    user = new_user(gateway.scim, "alice")
    make_group(gateway.scim, GROUP, user)
    key = gateway.give_key(user["id"])

    replace(gateway.scim, f"/Users/{user['id']}", active=False)
    assert gateway.call(key).status_code == 403
    assert gateway.call(key, "/keyed").status_code == 403
    assert gateway.groups_of(user["id"]) == set()

    replace(gateway.scim, f"/Users/{user['id']}", active=True)
    assert gateway.call(key).status_code == 200


def test_delete_takes_the_consumer_and_a_return_makes_another(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(on_deactivate="delete")
    user = new_user(gateway.scim, "alice")
    make_group(gateway.scim, GROUP, user)

    replace(gateway.scim, f"/Users/{user['id']}", active=False)
    assert gateway.consumers() == []
    assert "consumerId" not in shown(gateway.scim, user)

    replace(gateway.scim, f"/Users/{user['id']}", active=True)
    assert gateway.groups_of("alice") == {GROUP}


def test_the_same_write_again_repairs_what_somebody_did_in_kong(gateway: Gateway) -> None:
    only_with_a_database(gateway)
    user = new_user(gateway.scim, "alice")
    gateway.admin.delete(f"/consumers/{user['id']}").raise_for_status()

    same = get(gateway.scim, f"/Users/{user['id']}")
    gateway.scim.put(f"/Users/{user['id']}", json=same).raise_for_status()

    assert consumer(gateway, "alice")["id"] == user["id"]


def test_a_second_deactivation_takes_a_key_that_was_given_in_between(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    replace(gateway.scim, f"/Users/{user['id']}", active=False)
    key = gateway.give_key("alice")
    assert gateway.call(key, "/keyed").status_code == 403

    replace(gateway.scim, f"/Users/{user['id']}", active=False)

    assert gateway.call(key, "/keyed").status_code == 401
