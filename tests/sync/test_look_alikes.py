"""A name that only looks like another one is refused, whoever has that one, on every host."""

from __future__ import annotations

import pytest
from front_door import consumer, group_body, replace

from hosts import Gateway
from scim_traffic import (
    new_group,
    new_user,
    patch,
    refused,
    user_body,
)


@pytest.mark.parametrize("other", ["ADMINS", "ａｄｍｉｎｓ", "adm\u2170ns"])
def test_a_group_that_only_looks_like_another_is_refused(gateway: Gateway, other: str) -> None:
    new_group(gateway.scim, name="admins")
    for scim in (gateway.scim, gateway.other_scim):
        refused(scim.post("/Groups", json=group_body(other)), 409, "uniqueness")
    new_group(gateway.scim, name="admins")  # the very same is one ACL group


@pytest.mark.parametrize("hidden", ["\u200b", "\u202e", "\ufeff", "\u00ad", "\U000e0041"])
def test_format_characters_are_refused_in_every_name(gateway: Gateway, hidden: str) -> None:
    ann = new_user(gateway.scim, "ann", externalId="e-1")["id"]
    group = new_group(gateway.scim)["id"]
    name = f"an{hidden}n"
    attempts = [
        gateway.scim.post("/Users", json=user_body(name)),
        gateway.scim.post("/Users", json=user_body(externalId=name)),
        gateway.scim.post("/Users", json=user_body(roles=[{"value": name}])),
        gateway.scim.post("/Groups", json=group_body(name)),
        gateway.scim.put(f"/Users/{ann}", json=user_body(name)),
        patch(gateway.scim, f"/Users/{ann}", {"op": "replace", "path": "userName", "value": name}),
        patch(gateway.scim, f"/Users/{ann}", {"op": "add", "value": {"externalId": name}}),
        patch(gateway.scim, f"/Groups/{group}", {"op": "replace", "value": {"displayName": name}}),
    ]
    for answer in attempts:
        assert f"U+{ord(hidden):04X}" in refused(answer, 400, "invalidValue")


@pytest.mark.parametrize(
    ("one", "other"), [("alice", "ａlice"), ("ﬁona", "fiona"), ("STRASSE", "straße"), ("Ⅳ", "iv")]
)
def test_a_name_that_only_looks_like_anothers_is_refused(
    gateway: Gateway, one: str, other: str
) -> None:
    new_user(gateway.scim, one, externalId=f"x-{one}")
    for scim in (gateway.scim, gateway.other_scim):
        refused(scim.post("/Users", json=user_body(other)), 409, "uniqueness")
        refused(scim.post("/Users", json=user_body(externalId=f"x-{other}")), 409, "uniqueness")
    bob = new_user(gateway.scim, "bob")["id"]
    for attribute, value in (("userName", other), ("externalId", f"x-{other}")):
        operation = {"op": "replace", "value": {attribute: value}}
        refused(patch(gateway.scim, f"/Users/{bob}", operation), 409, "uniqueness")
    assert consumer(gateway, "bob")["custom_id"] is None


def test_a_name_that_looks_like_a_hand_made_consumers_is_refused(gateway: Gateway) -> None:
    gateway.new_consumer(username="root")
    detail = refused(gateway.scim.post("/Users", json=user_body("ｒoot")), 409, "uniqueness")
    assert "looks the same" in detail


def test_a_name_is_free_again_when_its_user_is_gone_or_renamed(gateway: Gateway) -> None:
    alice = new_user(gateway.scim, "alice")["id"]
    replace(gateway.scim, f"/Users/{alice}", userName="alice.b")
    bob = new_user(gateway.other_scim, "Alice")["id"]
    assert gateway.other_scim.delete(f"/Users/{bob}").status_code == 204
    replace(gateway.scim, f"/Users/{alice}", userName="ALICE")
    assert consumer(gateway, alice)["username"] == "ALICE"
