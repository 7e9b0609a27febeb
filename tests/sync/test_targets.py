"""What groups are in Kong: ACL groups, consumer groups, or both. All keep the same contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from front_door import join, leave, make_group, only_with_a_database, replace, shown

from hosts import Gateway, running_gateway
from scim_traffic import new_user, refused, user_body

TARGETS = ("acl", "consumer_group", "both")


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    """What every group is in Kong."""
    name: str = request.param
    return name


@pytest.fixture
def targeted(gateway_with: Callable[..., Gateway], target: str) -> Gateway:
    return gateway_with(groups={"targets": {"default": target}})


@pytest.fixture
def held(targeted: Gateway, target: str) -> Callable[[dict[str, Any]], set[str]]:
    """Return a function for the groups of a user in Kong, which are the same in each target."""

    def groups(user: dict[str, Any]) -> set[str]:
        found = in_kong(targeted, user)
        wanted = {"both": ("acl", "consumer_group")}.get(target, (target,))
        assert {kind for kind, names in found.items() if names} <= set(wanted)
        names = {frozenset(found[kind]) for kind in wanted}
        assert len(names) == 1, found
        return set(names.pop())

    return groups


def in_kong(gateway: Gateway, user: dict[str, Any]) -> dict[str, set[str]]:
    identifier = user["id"]
    return {
        "acl": gateway.groups_of(identifier),
        "consumer_group": gateway.consumer_groups_of(identifier),
    }


def names(gateway: Gateway) -> set[str]:
    """Return the names of all consumer groups."""
    return {group["name"] for group in gateway.consumer_groups()}


Held = Callable[[dict[str, Any]], set[str]]


# -- the contract of every target ---------------------------------------------


def test_members_are_in_the_group_as_long_as_they_are_members(
    targeted: Gateway, held: Held
) -> None:
    ann, bob = new_user(targeted.scim), new_user(targeted.scim)
    group = make_group(targeted.scim, "staff", ann, bob)
    assert held(ann) == held(bob) == {"staff"}
    assert shown(targeted.scim, ann)["accessGroups"] == ["staff"]
    leave(targeted.scim, group, ann)
    assert (held(ann), held(bob)) == (set(), {"staff"})
    join(targeted.scim, group, ann)
    assert held(ann) == {"staff"}


def test_many_members_are_one_set(targeted: Gateway, held: Held) -> None:
    people = [new_user(targeted.scim) for _ in range(12)]
    group = make_group(targeted.scim, "crowd", *people)
    assert all(held(each) == {"crowd"} for each in people)
    replace(targeted.scim, f"/Groups/{group['id']}", members=[])
    assert all(held(each) == set() for each in people)


def test_a_renamed_group_is_another_one_for_each_member(targeted: Gateway, held: Held) -> None:
    ann = new_user(targeted.scim)
    group = make_group(targeted.scim, "staff", ann)
    replace(targeted.scim, f"/Groups/{group['id']}", displayName="people")
    assert held(ann) == {"people"}
    assert "staff" not in names(targeted)


def test_members_of_nested_groups_are_in_the_groups_above(targeted: Gateway, held: Held) -> None:
    ann = new_user(targeted.scim)
    inner = make_group(targeted.scim, "platform", ann)
    outer = make_group(targeted.scim, "engineering", inner)
    assert held(ann) == {"platform", "engineering"}
    leave(targeted.scim, outer, inner)
    assert held(ann) == {"platform"}


def test_a_disabled_user_loses_its_groups_and_gets_them_back(targeted: Gateway, held: Held) -> None:
    ann = new_user(targeted.scim, roles=[{"value": "boss"}])
    make_group(targeted.scim, "staff", ann)
    assert held(ann) == {"staff", "role:boss"}
    replace(targeted.scim, f"/Users/{ann['id']}", active=False)
    assert held(ann) == set()
    replace(targeted.scim, f"/Users/{ann['id']}", active=True)
    assert held(ann) == {"staff", "role:boss"}


def test_a_deleted_group_is_taken_from_every_member(targeted: Gateway, held: Held) -> None:
    ann = new_user(targeted.scim)
    group = make_group(targeted.scim, "staff", ann)
    assert targeted.scim.delete(f"/Groups/{group['id']}").status_code == 204
    assert held(ann) == set()
    assert "staff" not in names(targeted)


def test_what_an_administrator_gave_stays(targeted: Gateway, target: str) -> None:
    only_with_a_database(targeted)
    ann = new_user(targeted.scim)
    make_group(targeted.scim, "staff", ann)
    give_by_hand(targeted, ann["id"], "beta")
    replace(targeted.scim, f"/Users/{ann['id']}", active=False)
    assert in_kong(targeted, ann) == {"acl": {"beta"}, "consumer_group": {"beta"}}


def test_an_adopted_consumer_keeps_the_groups_it_had(
    gateway_with: Callable[..., Gateway], target: str
) -> None:
    everything_allowed = {"targets": {"default": target}, "allow": [".*"]}
    gateway = gateway_with(groups=everything_allowed, adopt="link")
    only_with_a_database(gateway)
    robot = gateway.new_consumer(username="ann@example.com")
    give_by_hand(gateway, robot["id"], "beta")
    ann = new_user(gateway.scim, "ann@example.com")
    beta, staff = (make_group(gateway.scim, name, ann) for name in ("beta", "staff"))
    kinds = ("acl", "consumer_group") if target == "both" else (target,)
    found = in_kong(gateway, robot)
    assert all(found[kind] == {"beta", "staff"} for kind in kinds)
    for group in (beta, staff):
        assert gateway.scim.delete(f"/Groups/{group['id']}").status_code == 204
    assert in_kong(gateway, robot) == {"acl": {"beta"}, "consumer_group": {"beta"}}


def test_a_gateway_that_starts_again_has_every_membership(targeted: Gateway, held: Held) -> None:
    if not targeted.host.dbless:
        pytest.skip("with a database nothing is lost")
    ann, bob = new_user(targeted.scim), new_user(targeted.scim)
    make_group(targeted.scim, "staff", ann, bob)
    targeted.declare()
    assert held(ann) == held(bob) == {"staff"}


def test_a_provider_cannot_give_a_group_that_others_give(targeted: Gateway, target: str) -> None:
    only_with_a_database(targeted)
    robot = targeted.new_consumer(username="robot")
    give_by_hand(targeted, robot["id"], "operators")
    ann = new_user(targeted.scim)
    body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "operators"}
    body["members"] = [{"value": ann["id"]}]
    detail = refused(targeted.scim.post("/Groups", json=body), 409, "uniqueness")
    assert "`groups.allow`" in detail
    assert in_kong(targeted, ann) == {"acl": set(), "consumer_group": set()}
    role = user_body(roles=[{"value": "operator"}])
    give_by_hand(targeted, robot["id"], "role:operator")
    refused(targeted.scim.post("/Users", json=role), 409, "uniqueness")


# -- which target a group has ---------------------------------------------------


def test_the_target_follows_the_name_in_kong(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(
        groups={
            "prefix": "eu-",
            "targets": {
                "map": {"eu-gold": "both"},
                "patterns": [
                    {"pattern": "eu-tier-.*", "target": "consumer_group"},
                    {"pattern": "eu-(role|entitlement):quota-.*", "target": "consumer_group"},
                ],
            },
        }
    )
    ann = new_user(
        gateway.scim,
        roles=[{"value": "boss"}, {"value": "quota-7"}],
        entitlements=[{"value": "quota-9"}],
    )
    for name in ("staff", "gold", "tier-1"):
        make_group(gateway.scim, name, ann)
    assert in_kong(gateway, ann) == {
        "acl": {"eu-staff", "eu-gold", "eu-role:boss"},
        "consumer_group": {
            *("eu-gold", "eu-tier-1"),
            *("eu-role:quota-7", "eu-entitlement:quota-9"),
        },
    }


# -- consumer groups, which are entities of their own -----------------------------


@pytest.fixture
def grouped(gateway_with: Callable[..., Gateway]) -> Gateway:
    return gateway_with(groups={"targets": {"default": "consumer_group"}, "allow": ["gold"]})


def test_a_consumer_group_that_scim_made_says_whose_it_is(grouped: Gateway) -> None:
    make_group(grouped.scim, "staff", new_user(grouped.scim))
    (found,) = grouped.consumer_groups()
    assert found["name"] == "staff"
    assert "scim" in found["tags"]
    assert any(tag.startswith("scim:v-") for tag in found["tags"])


def test_a_group_with_a_plugin_is_not_deleted_with_its_scim_group(grouped: Gateway) -> None:
    only_with_a_database(grouped)
    group = make_group(grouped.scim, "staff", ann := new_user(grouped.scim))
    hang_a_plugin_on(grouped, "staff")
    assert grouped.scim.delete(f"/Groups/{group['id']}").status_code == 204
    assert grouped.consumer_groups_of(ann["id"]) == set()
    assert names(grouped) == {"staff"}


def test_a_group_that_scim_did_not_make_is_filled_where_allowed_and_never_deleted(
    grouped: Gateway,
) -> None:
    only_with_a_database(grouped)
    grouped.admin.post("/consumer_groups", json={"name": "gold"}).raise_for_status()
    group = make_group(grouped.scim, "gold", ann := new_user(grouped.scim))
    assert grouped.consumer_groups_of(ann["id"]) == {"gold"}
    assert grouped.scim.delete(f"/Groups/{group['id']}").status_code == 204
    assert grouped.consumer_groups_of(ann["id"]) == set()
    assert names(grouped) == {"gold"}


def test_a_group_that_a_second_scim_group_gives_stays_with_its_members(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(
        groups={
            "map": {"Staff EU": "staff", "Staff US": "staff"},
            "targets": {"default": "consumer_group"},
        }
    )
    ann = new_user(gateway.scim)
    one, _ = (make_group(gateway.scim, name, ann) for name in ("Staff EU", "Staff US"))
    assert gateway.scim.delete(f"/Groups/{one['id']}").status_code == 204
    assert gateway.consumer_groups_of(ann["id"]) == names(gateway) == {"staff"}


def test_the_group_of_a_role_is_deleted_with_its_last_member(grouped: Gateway) -> None:
    boss = [{"value": "boss"}]
    ann, bob = (new_user(grouped.scim, roles=boss) for _ in range(2))
    replace(grouped.scim, f"/Users/{ann['id']}", roles=[])
    assert names(grouped) == {"role:boss"}
    assert grouped.scim.delete(f"/Users/{bob['id']}").status_code == 204
    assert names(grouped) == set()


def give_by_hand(gateway: Gateway, consumer: str, group: str) -> None:
    """Make a consumer a member of an ACL group and of a consumer group, as an administrator."""
    admin = gateway.admin
    admin.post(f"/consumers/{consumer}/acls", json={"group": group}).raise_for_status()
    if group not in names(gateway):
        admin.post("/consumer_groups", json={"name": group}).raise_for_status()
    path = f"/consumer_groups/{group}/consumers"
    admin.post(path, json={"consumer": consumer}).raise_for_status()


def hang_a_plugin_on(gateway: Gateway, group: str) -> None:
    """Have an entity refer to a consumer group, as a plugin of Enterprise does."""
    path = f"/consumer_groups/{group}/consumer_group_plugins"
    if gateway.name == "sandbox":
        path = f"/consumer_groups/{group}/plugins"
    gateway.admin.post(path, json={"name": "rate-limiting-advanced"}).raise_for_status()


# -- an edition without them --------------------------------------------------------


@pytest.fixture(params=["sandbox"])
def open_source(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    targets = {"targets": {"patterns": [{"pattern": "tier-.*", "target": "consumer_group"}]}}
    with running_gateway(request.param, open_source=True, groups=targets) as gateway:
        yield gateway


def test_consumer_groups_are_refused_by_an_edition_that_lacks_them(open_source: Gateway) -> None:
    answer = open_source.scim.get("/Users")
    detail = refused(answer, 503)
    assert "config.groups.targets names consumer_group" in detail
    assert "only Kong Enterprise has consumer groups" in detail
    assert "config.groups.targets names consumer_group" in open_source.host.log()
