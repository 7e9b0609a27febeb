"""No provider fills the ACL group of another, of an administrator, or of the SCIM endpoint."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from front_door import group_body, make_group, replace
from scim2_models import UniquenessException
from sync_support import config, person

from host_processes import TOKENS
from hosts import GROUP, Gateway, scim_client
from kong_scim.directory.database import Scope, TenantDatabase
from kong_scim.directory.ports import Change, UserState
from kong_scim.directory.sqlite import SqliteDatabase
from kong_scim.sync.names import access_groups
from kong_scim.sync.ownership import Ownership
from scim_traffic import (
    BULK,
    PATCH,
    answered,
    new_group,
    new_user,
    patch,
    refused,
    unique,
    user_body,
)


def by_creating(scim: httpx.Client, name: str, user: str) -> httpx.Response:
    return scim.post("/Groups", json=group_body(name, user))


def by_creating_it_empty(scim: httpx.Client, name: str, user: str) -> httpx.Response:
    del user
    return scim.post("/Groups", json=group_body(name))


def by_renaming(scim: httpx.Client, name: str, user: str) -> httpx.Response:
    group = new_group(scim, user)["id"]
    return patch(scim, f"/Groups/{group}", {"op": "replace", "path": "displayName", "value": name})


def by_putting(scim: httpx.Client, name: str, user: str) -> httpx.Response:
    group = new_group(scim)["id"]
    return scim.put(f"/Groups/{group}", json=group_body(name, user))


def by_nesting(scim: httpx.Client, name: str, user: str) -> httpx.Response:
    inner = new_group(scim, user)["id"]
    return scim.post("/Groups", json=group_body(name, inner))


def by_bulk(scim: httpx.Client, name: str, user: str) -> httpx.Response:
    operation = {"method": "POST", "path": "/Groups", "bulkId": "g", "data": group_body(name, user)}
    answer = answered(scim.post("/Bulk", json={"schemas": [BULK], "Operations": [operation]}), 200)
    (done,) = answer["Operations"]
    return httpx.Response(
        int(done["status"]),
        json=done.get("response", {}),
        headers={"Content-Type": "application/scim+json"},
    )


def by_bulk_patch(scim: httpx.Client, name: str, user: str) -> httpx.Response:
    group = new_group(scim, user)["id"]
    rename = {"op": "replace", "value": {"displayName": name}}
    data = {"schemas": [PATCH], "Operations": [rename]}
    operation = {"method": "PATCH", "path": f"/Groups/{group}", "data": data}
    answer = answered(scim.post("/Bulk", json={"schemas": [BULK], "Operations": [operation]}), 200)
    (done,) = answer["Operations"]
    return httpx.Response(
        int(done["status"]),
        json=done.get("response", {}),
        headers={"Content-Type": "application/scim+json"},
    )


WAYS = [
    by_creating,
    by_creating_it_empty,
    by_renaming,
    by_putting,
    by_nesting,
    by_bulk,
    by_bulk_patch,
]

SPELLINGS = ["{}", " {} ", "{}\u00a0", "\u3000{}"]


def groups_of(gateway: Gateway, user: str) -> set[str]:
    return gateway.groups_of(user)


# -- of another tenant -----------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reverse", [False, True], ids=["b after a", "a after b"])
def test_a_group_of_another_tenant_is_refused_however_it_is_asked_for(
    gateway: Gateway, way: Callable[[httpx.Client, str, str], httpx.Response], reverse: bool
) -> None:
    first, second = gateway.scim, gateway.other_scim
    if reverse:
        first, second = second, first
    name = unique("admins")
    new_group(first, new_user(first)["id"], name=name)
    eve = new_user(second)["id"]
    detail = refused(way(second, name, eve), 409, "uniqueness")
    assert "`groups.allow`" in detail
    assert "tenant" not in detail
    assert name not in groups_of(gateway, eve)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_blanks_make_no_other_group_of_it(gateway: Gateway, spelling: str) -> None:
    name = unique("admins")
    new_group(gateway.scim, name=name)
    refused(
        gateway.other_scim.post("/Groups", json=group_body(spelling.format(name))),
        409,
        "uniqueness",
    )


def test_a_group_that_is_empty_is_its_tenants_too_until_it_is_deleted_or_renamed(
    gateway: Gateway,
) -> None:
    name = unique("admins")
    for _ in range(2):
        group = new_group(gateway.scim, name=name)["id"]
        refused(gateway.other_scim.post("/Groups", json=group_body(name)), 409, "uniqueness")
        assert gateway.scim.delete(f"/Groups/{group}").status_code == 204
        theirs = new_group(gateway.other_scim, name=name)["id"]
        refused(gateway.scim.post("/Groups", json=group_body(name)), 409, "uniqueness")
        replace(gateway.other_scim, f"/Groups/{theirs}", displayName=unique("others"))


def test_a_role_is_no_way_into_the_role_of_another_tenant(gateway: Gateway) -> None:
    role = unique("admin")
    new_user(gateway.scim, roles=[{"value": role}])
    eve = new_user(gateway.other_scim)["id"]
    detail = refused(
        gateway.other_scim.post("/Users", json=user_body(roles=[{"value": role}])),
        409,
        "uniqueness",
    )
    assert f"role:{role}" in detail
    add = {"op": "add", "path": "roles", "value": [{"value": role}]}
    refused(patch(gateway.other_scim, f"/Users/{eve}", add), 409, "uniqueness")
    put = user_body("eve", roles=[{"value": role}])
    refused(gateway.other_scim.put(f"/Users/{eve}", json=put), 409, "uniqueness")
    assert groups_of(gateway, eve) == set()


def test_a_role_whose_name_is_that_of_a_group_is_refused_as_well(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(roles={"roles_prefix": ""})
    name = unique("admins")
    new_group(gateway.other_scim, name=name)
    detail = refused(
        gateway.scim.post("/Users", json=user_body(roles=[{"value": name}])), 409, "uniqueness"
    )
    assert "`groups.allow`" in detail


@pytest.mark.parametrize("name", ["role:admin", "Entitlement:gold", "role:"])
def test_a_group_is_not_called_as_a_role_is(gateway: Gateway, name: str) -> None:
    detail = refused(gateway.scim.post("/Groups", json=group_body(name)), 400, "invalidValue")
    assert "roles and entitlements" in detail


def test_what_allow_names_may_be_shared(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(groups={"allow": ["shared-.*", "staff"]})
    new_group(gateway.other_scim, new_user(gateway.other_scim)["id"], name="shared-1")
    new_group(gateway.other_scim, new_user(gateway.other_scim)["id"], name="staffers")
    ann = new_user(gateway.scim)["id"]
    new_group(gateway.scim, ann, name="shared-1")
    refused(gateway.scim.post("/Groups", json=group_body("staffers")), 409, "uniqueness")
    assert groups_of(gateway, ann) == {"shared-1"}


def test_with_a_prefix_each_tenant_has_names_of_its_own(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(groups={"prefix": "a-", "map": {"Everybody": GROUP}})
    new_group(gateway.other_scim, name="admins")
    ann = new_user(gateway.scim, roles=[{"value": "boss"}])["id"]
    new_group(gateway.scim, ann, name="admins")
    new_group(gateway.scim, ann, name="Everybody")
    assert groups_of(gateway, ann) == {"a-admins", "a-role:boss", GROUP}


@pytest.mark.parametrize(
    ("groups", "matched"),
    [
        ({"allow": ["good.*"]}, "good one"),
        ({"map": {"Good": "good"}}, "Good"),
        ({"pattern": "kong-(.*)"}, "kong-good"),
    ],
)
def test_what_does_not_match_is_refused_or_ignored_as_configured(
    gateway_with: Callable[..., Gateway], groups: dict[str, Any], matched: str
) -> None:
    gateway = gateway_with(groups={**groups, "unmatched": "refuse"})
    new_group(gateway.scim, name=matched)
    detail = refused(gateway.scim.post("/Groups", json=group_body("bad")), 400, "invalidValue")
    assert "`groups.unmatched` is refuse" in detail
    gateway = gateway_with(groups={**groups, "unmatched": "ignore"})
    ann = new_user(gateway.scim)["id"]
    new_group(gateway.scim, ann, name="bad")
    assert groups_of(gateway, ann) == set()
    group = new_group(gateway.scim, ann, name=matched)["id"]
    assert len(groups_of(gateway, ann)) == 1
    replace(gateway.scim, f"/Groups/{group}", displayName="worse")
    assert groups_of(gateway, ann) == set()
    new_group(gateway.other_scim, name="bad")  # nobody gives it


def test_of_two_tenants_that_give_a_new_name_at_once_one_is_refused(gateway: Gateway) -> None:
    rounds = 8
    ids = [
        (new_user(gateway.scim)["id"], new_user(gateway.other_scim)["id"]) for _ in range(rounds)
    ]
    tokens = (TOKENS["scim-token-a"], TOKENS["scim-token-b"])
    bases = (gateway.scim_base, gateway.other_base)

    def create(tenant: int, name: str, user: str, empty: bool) -> int:
        with scim_client(bases[tenant], tokens[tenant]) as scim:
            body = group_body(name) if empty else group_body(name, user)
            return scim.post("/Groups", json=body).status_code

    for number, pair in enumerate(ids):
        name = unique("race")
        with ThreadPoolExecutor(2) as threads:
            jobs = [
                threads.submit(create, tenant, name, user, bool(number % 2))
                for tenant, user in enumerate(pair)
            ]
        assert Counter(job.result() for job in jobs) == {201: 1, 409: 1}


# -- of an administrator ---------------------------------------------------


def give_by_hand(gateway: Gateway, group: str) -> None:
    acls = {"acls": [{"group": group}]} if gateway.host.dbless else {}
    robot = gateway.new_consumer(username=unique("robot"), **acls)
    if not gateway.host.dbless:
        path = f"/consumers/{robot['id']}/acls"
        gateway.admin.post(path, json={"group": group}).raise_for_status()


def test_a_group_that_an_administrator_gave_by_hand_is_not_the_providers(
    gateway: Gateway,
) -> None:
    give_by_hand(gateway, "operators")
    eve = new_user(gateway.scim)["id"]
    for way in (by_creating, by_creating_it_empty, by_renaming):
        detail = refused(way(gateway.scim, "operators", eve), 409, "uniqueness")
        assert "`groups.allow`" in detail
    assert "operators" not in groups_of(gateway, eve)


def test_a_role_that_an_administrator_gave_by_hand_neither(gateway: Gateway) -> None:
    give_by_hand(gateway, "role:operator")
    body = user_body(roles=[{"value": "operator"}])
    refused(gateway.scim.post("/Users", json=body), 409, "uniqueness")


def test_what_a_tenant_gives_already_it_goes_on_to_give(gateway: Gateway) -> None:
    ann, bob = new_user(gateway.scim)["id"], new_user(gateway.scim)["id"]
    staff = make_group(gateway.scim, "staff", {"id": ann})
    give_by_hand(gateway, "staff")
    add = {"op": "add", "path": "members", "value": [{"value": bob}]}
    assert patch(gateway.scim, f"/Groups/{staff['id']}", add).status_code == 204
    assert groups_of(gateway, bob) == {"staff"}


def test_allow_lets_a_provider_share_a_group_with_an_administrator(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(groups={"allow": ["operators"]})
    give_by_hand(gateway, "operators")
    ann = new_user(gateway.scim)["id"]
    new_group(gateway.scim, ann, name="operators")
    assert groups_of(gateway, ann) == {"operators"}


# -- scopes ----------------------------------------------------------------

HR_TOKEN = "of a provider that may not change groups"


def test_roles_are_changed_by_who_may_change_groups_too(
    gateway_with: Callable[..., Gateway],
) -> None:
    every = ["scim:read", "scim:users", "scim:groups", "scim:bulk", "scim:events", "scim:admin"]
    hr = {"name": "hr", "sha256": hashlib.sha256(HR_TOKEN.encode()).hexdigest()}
    gateway = gateway_with(
        tokens=[
            {"name": "idp", "value": "{vault://env/scim-token-a}", "scopes": every},
            {**hr, "scopes": ["scim:read", "scim:users", "scim:bulk"]},
        ]
    )
    boss = [{"value": "boss"}]
    with scim_client(gateway.scim_base, HR_TOKEN) as scim:
        ann = new_user(scim, "ann")["id"]
        data = user_body(roles=boss)
        operation = {"method": "POST", "path": "/Users", "bulkId": "u", "data": data}
        bulk = scim.post("/Bulk", json={"schemas": [BULK], "Operations": [operation]})
        assert answered(bulk, 200)["Operations"][0]["status"] == "403"
        for answer in (
            scim.post("/Users", json=user_body(entitlements=boss)),
            scim.put(f"/Users/{ann}", json=user_body("ann", roles=boss)),
            patch(scim, f"/Users/{ann}", {"op": "add", "path": "roles", "value": boss}),
        ):
            assert "scim:groups" in refused(answer, 403)
        replace(gateway.scim, f"/Users/{ann}", roles=boss)
        refused(patch(scim, f"/Users/{ann}", {"op": "remove", "path": "roles"}), 403)
        replace(scim, f"/Users/{ann}", title="Boss")
        left = scim.put(f"/Users/{ann}", json=user_body("ann", active=False))
        assert answered(left, 200)["active"] is False


def ownership(**fields: Any) -> Ownership:
    return Ownership(
        config(**fields), TenantDatabase(SqliteDatabase(":memory:"), Scope("w", "okta"))
    )


AS_KONG: dict[str, Any] = {"auth": "kong", "group_scopes": {"provisioners": ["scim:admin"]}}


def test_a_group_that_gives_scopes_of_the_endpoint_is_no_providers() -> None:
    change = Change("create", "Group", "g", group_name="Provisioners")
    with pytest.raises(UniquenessException, match="group_scopes"):
        ownership(**AS_KONG).of_group(change)
    robot = UserState(person(roles=[{"value": "provisioners"}]))
    with pytest.raises(UniquenessException, match="group_scopes"):
        ownership(**AS_KONG, roles={"roles_prefix": ""}).of_user(None, robot)
    assert access_groups(config(**AS_KONG), person().doc, ["provisioners", "staff"]) == ("staff",)


def test_unless_allow_has_it_or_tokens_are_what_counts() -> None:
    change = Change("create", "Group", "g", group_name="provisioners")
    assert ownership(**AS_KONG, groups={"allow": ["provisioners"]}).of_group(change)
    assert ownership(group_scopes=AS_KONG["group_scopes"]).of_group(change)
