"""Names that meet: those of consumers that SCIM did not make, and of other tenants."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from front_door import consumer, make_group, replace, shown

from hosts import GROUP, Gateway
from scim_traffic import get, new_user, refused, user_body


def test_a_consumer_that_scim_did_not_create_is_not_taken_over(gateway: Gateway) -> None:
    other = gateway.new_consumer(username="alice", tags=["gold"])

    answer = gateway.scim.post("/Users", json=user_body("alice"))

    detail = refused(answer, 409, "uniqueness")
    assert other["id"] not in detail
    if gateway.host.dbless:
        assert "that the gateway's declarative configuration declares" in detail
    else:
        assert "that SCIM did not create" in detail
        assert "`adopt: link`" in detail
    assert consumer(gateway, "alice")["tags"] == ["gold"]
    assert get(gateway.scim, "/Users")["totalResults"] == 0


def test_a_custom_id_that_is_taken_is_named_and_whose_it_is_is_not(gateway: Gateway) -> None:
    gateway.new_consumer(username="robot", custom_id="00u1")
    body = user_body("alice", externalId="00u1")

    detail = refused(gateway.scim.post("/Users", json=body), 409, "uniqueness")

    assert "custom_id '00u1'" in detail
    assert "'robot'" not in detail


def test_link_takes_an_existing_consumer_over_with_its_key(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(adopt="link")
    if gateway.host.dbless:
        pytest.skip("what is declared can be changed only there: tests/contract/test_dbless.py")
    other = gateway.new_consumer(username="alice", tags=["gold"])
    key = gateway.give_key(other["id"])

    user = new_user(gateway.scim, "alice")
    make_group(gateway.scim, GROUP, user)

    assert shown(gateway.scim, user)["consumerId"] == other["id"] != user["id"]
    assert {"scim", f"scim-user:{user['id']}", "gold"} <= set(consumer(gateway, "alice")["tags"])
    assert gateway.call(key).status_code == 200

    replace(gateway.scim, f"/Users/{user['id']}", userName="alice.b", active=False)
    assert consumer(gateway, other["id"])["username"] == "alice.b"
    assert gateway.call(key).status_code == 401


# -- two identity providers ------------------------------------------------


def test_two_tenants_do_not_see_each_others_resources(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    group = make_group(gateway.scim, "staff", user)

    for path in (f"/Users/{user['id']}", f"/Groups/{group['id']}"):
        refused(gateway.other_scim.get(path), 404)
        refused(gateway.other_scim.delete(path), 404)
    for path in ("/Users", "/Groups"):
        assert get(gateway.other_scim, path)["totalResults"] == 0
    assert gateway.groups_of(user["id"]) == {"staff"}


def test_the_consumer_of_another_tenant_is_a_clash_that_does_not_say_whose_it_is(
    gateway: Gateway,
) -> None:
    alice = new_user(gateway.scim, "alice")

    answer = gateway.other_scim.post("/Users", json=user_body("alice"))

    detail = refused(answer, 409, "uniqueness")
    assert "a consumer that this provider does not manage" in detail
    assert alice["id"] not in detail
    assert "tenant" not in detail
    if gateway.name.startswith("sandbox"):  # else the plugin server's log is another process's
        assert f"is of the consumer {alice['id']}" in gateway.host.log()
    assert shown(gateway.other_scim, new_user(gateway.other_scim, "bob"))["username"] == "bob"


def test_two_users_that_map_to_one_name_are_a_clash_that_names_the_other(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(consumer={"username": "nickName"})
    first = new_user(gateway.scim, "alice", nickName="al")
    body = user_body("alan", nickName="al")

    detail = refused(gateway.scim.post("/Users", json=body), 409, "uniqueness")

    assert f"of the user {first['id']}" in detail


def test_a_user_without_the_attribute_that_names_its_consumer_is_refused(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(consumer={"username": "nickName"})

    answer = gateway.scim.post("/Users", json=user_body("alice"))

    assert "`nickName` is missing" in refused(answer, 400, "invalidValue")
    assert gateway.consumers() == []
