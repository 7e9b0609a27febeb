"""Who counts as gone, of whom, and what of the access of those who stay, on every host."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from click.testing import CliRunner
from quarantine_support import crowd, gone, newcomers, settle, standing

from hosts import Gateway, scim_client
from kong_scim.cli.main import main
from scim_traffic import (
    CORE_GROUP,
    get,
    members_of,
    new_group,
    new_user,
    patch,
    patched_user,
    refused,
    user_body,
)

pytestmark = pytest.mark.long

LIMIT = 3
ACTIVATE = {"op": "replace", "value": {"active": True}}


class TestTheShareIsOfPeopleWhoWereActive:
    @pytest.fixture
    def fifth(self, gateway_with: Callable[..., Gateway]) -> Gateway:
        """A gateway that lets a fifth go, and two at least."""
        return gateway_with(quarantine={"share": 20, "at_least": 2})

    def test_inactive_people_do_not_raise_how_many_may_go(self, fifth: Gateway) -> None:
        people = crowd(fifth, 12)
        crowd(fifth, 48, active=False)
        assert standing(fifth)["users"] == 12
        assert gone(fifth.scim, people[:3]) == [204, 204, 409]

    def test_nor_do_those_who_are_activated_or_created_within_the_window(
        self, fifth: Gateway
    ) -> None:
        people, asleep = crowd(fifth, 12), crowd(fifth, 24, active=False)
        for each in asleep:
            patched_user(fifth.scim, each, ACTIVATE)
        newcomers(fifth.scim, 24)
        assert standing(fifth)["users"] == 12
        assert gone(fifth.scim, people[:3]) == [204, 204, 409]

    def test_who_left_is_among_those_who_were_active(self, fifth: Gateway) -> None:
        people = crowd(fifth, 20)
        assert gone(fifth.scim, people[:5]) == [204] * 4 + [409]
        assert "4 of 20 users" in refused(fifth.scim.delete(f"/Users/{people[5]}"), 409)


class TestATestIsNoDisaster:
    @pytest.fixture
    def few(self, gateway_with: Callable[..., Gateway]) -> Gateway:
        return gateway_with(quarantine={"users": LIMIT})

    def test_people_who_were_created_within_the_window_do_not_count(self, few: Gateway) -> None:
        for _ in range(2):
            assert gone(few.scim, newcomers(few.scim, LIMIT + 1)) == [204] * (LIMIT + 1)
        for each in newcomers(few.scim, LIMIT + 1):
            patched_user(few.scim, each, {"op": "replace", "value": {"active": False}})
        assert (standing(few)["gone"], standing(few)["state"]) == (0, "open")

    def test_people_who_are_deleted_and_created_again_count_once_each(self, few: Gateway) -> None:
        people = crowd(few, LIMIT + 1)
        for each in people[:LIMIT]:
            name = get(few.scim, f"/Users/{each}")["userName"]
            assert few.scim.delete(f"/Users/{each}").status_code == 204
            again = new_user(few.scim, name)["id"]
            assert few.scim.delete(f"/Users/{again}").status_code == 204
        assert standing(few)["gone"] == LIMIT
        assert gone(few.scim, people[LIMIT:]) == [409]

    def test_in_a_quarantine_they_are_held_back_like_everybody(self, few: Gateway) -> None:
        assert gone(few.scim, crowd(few, LIMIT + 1)) == [204] * LIMIT + [409]
        assert gone(few.scim, newcomers(few.scim, 1)) == [409]


def by_removing_each(scim: httpx.Client, group: str, people: list[str]) -> httpx.Response:
    operations = [{"op": "remove", "path": f'members[value eq "{each}"]'} for each in people]
    return patch(scim, f"/Groups/{group}", *operations)


def by_emptying(scim: httpx.Client, group: str, people: list[str]) -> httpx.Response:
    del people
    return patch(scim, f"/Groups/{group}", {"op": "remove", "path": "members"})


def by_replacing(scim: httpx.Client, group: str, people: list[str]) -> httpx.Response:
    del people
    name = get(scim, f"/Groups/{group}")["displayName"]
    return scim.put(f"/Groups/{group}", json={"schemas": [CORE_GROUP], "displayName": name})


def by_renaming(scim: httpx.Client, group: str, people: list[str]) -> httpx.Response:
    del people
    operation = {"op": "replace", "path": "displayName", "value": "another name"}
    return patch(scim, f"/Groups/{group}", operation)


def by_deleting(scim: httpx.Client, group: str, people: list[str]) -> httpx.Response:
    del people
    return scim.delete(f"/Groups/{group}")


def by_deleting_the_group_above(
    scim: httpx.Client, group: str, people: list[str]
) -> httpx.Response:
    above = new_group(scim, group)["id"]
    return by_deleting(scim, above, people)


WAYS = [
    by_removing_each,
    by_emptying,
    by_replacing,
    by_renaming,
    by_deleting,
    by_deleting_the_group_above,
]


class TestMembershipsOfPeopleWhoStay:
    @pytest.fixture
    def some(self, gateway_with: Callable[..., Gateway]) -> Gateway:
        """A gateway that lets three memberships be taken away."""
        return gateway_with(quarantine={"memberships": LIMIT})

    @pytest.mark.parametrize("way", WAYS)
    def test_too_many_at_once_are_held_back_however_they_go(
        self, some: Gateway, way: Callable[[httpx.Client, str, list[str]], httpx.Response]
    ) -> None:
        people = newcomers(some.scim, LIMIT + 1)
        group = new_group(some.scim, *people)["id"]
        sentence = refused(way(some.scim, group, people), 409)
        assert f"{LIMIT + 1} more are too many at once: {LIMIT} may be" in sentence
        assert members_of(some.scim, group) == set(people)
        assert some.groups_of(people[0])
        found = standing(some)
        assert (found["state"], found["membershipsTaken"]) == ("quarantined", 0)
        assert [each["memberships"] for each in found["membershipsHeld"]] == [LIMIT + 1]
        some.decide("approve")
        assert way(some.scim, group, people).is_success

    def test_so_many_go_one_by_one_and_then_nobody_loses_any(self, some: Gateway) -> None:
        people = crowd(some, LIMIT + 2)
        group = new_group(some.scim, *people)["id"]
        answers = [by_removing_each(some.scim, group, [each]).status_code for each in people]
        assert answers == [204] * LIMIT + [409, 409]
        assert standing(some)["membershipsTaken"] == LIMIT
        assert gone(some.scim, people[:1]) == [409]
        some.decide("lift")
        assert by_removing_each(some.scim, group, people[LIMIT:]).status_code == 204

    def test_in_a_quarantine_of_people_they_go_on_to_count(
        self, gateway_with: Callable[..., Gateway]
    ) -> None:
        gateway = gateway_with(quarantine={"memberships": LIMIT, "users": 1})
        people = crowd(gateway, LIMIT + 3)
        group = new_group(gateway.scim, *people[2:])["id"]
        assert gone(gateway.scim, people[:2]) == [204, 409]
        answers = [by_removing_each(gateway.scim, group, [each]).status_code for each in people[2:]]
        assert answers == [204] * LIMIT + [409]

    def test_roles_are_memberships_and_who_leaves_loses_none(self, some: Gateway) -> None:
        roles = [{"value": "one"}, {"value": "two"}]
        people = crowd(some, LIMIT, roles=roles)
        group = new_group(some.scim, *people)["id"]
        patched_user(some.scim, people[0], {"op": "remove", "path": "roles"})
        body = user_body(get(some.scim, f"/Users/{people[1]}")["userName"], active=True)
        refused(some.scim.put(f"/Users/{people[1]}", json=body), 409)
        some.decide("lift")
        assert gone(some.scim, people[:2]) == [204, 204]
        patched_user(some.scim, people[2], {"op": "replace", "value": {"active": False}})
        assert standing(some)["membershipsTaken"] == 0
        assert some.scim.delete(f"/Groups/{group}").status_code == 204

    def test_without_a_number_it_is_half_of_all_and_a_hundred_at_least(
        self, gateway_with: Callable[..., Gateway]
    ) -> None:
        gateway = gateway_with(quarantine={})
        people = newcomers(gateway.scim, 101)
        group = new_group(gateway.scim, *people)["id"]
        assert standing(gateway)["membershipsAllowed"] == 100
        sentence = refused(by_emptying(gateway.scim, group, people), 409)
        assert "0 of 101 memberships" in sentence
        gateway.decide("lift")
        more = new_group(gateway.scim, *people)["id"]
        assert standing(gateway)["membershipsAllowed"] == 101
        assert by_emptying(gateway.scim, group, people).status_code == 204
        refused(by_deleting(gateway.scim, more, people), 409)

    def test_the_command_shows_them(self, some: Gateway) -> None:
        people = newcomers(some.scim, LIMIT + 1)
        group = new_group(some.scim, *people, name="staff")["id"]
        refused(by_deleting(some.scim, group, people), 409)
        options = ["--scim-url", some.scim_base, "--token", some.token]
        ran = CliRunner().invoke(main, ["quarantine", *options, "show"])
        lines = ran.output.splitlines()
        assert lines[3] == "0 of 4 memberships of ACL groups are taken away; 3 may be"
        assert lines[-1].endswith(f"4 by  {group}  staff")

    def test_exactly_so_many_go_however_many_ask_at_once(
        self, gateway_with: Callable[..., Gateway]
    ) -> None:
        clients, may = 24, 10
        gateway = gateway_with(quarantine={"memberships": may})
        people = newcomers(gateway.scim, clients)
        settle(gateway)
        group = new_group(gateway.scim, *people)["id"]
        nodes = itertools.cycle(httpx.URL(node).port for node in gateway.host.proxy_urls)
        bases = [str(httpx.URL(gateway.scim_base).copy_with(port=next(nodes))) for _ in people]

        def leave(number: int) -> int:
            with scim_client(bases[number], gateway.token) as scim:
                while True:
                    answer = by_removing_each(scim, group, [people[number]])
                    if answer.status_code != 503:  # the gateway is busy, and says so
                        return answer.status_code

        with ThreadPoolExecutor(clients) as threads:
            statuses = Counter(threads.map(leave, range(clients)))
        assert statuses == {204: may, 409: clients - may}
        assert len(members_of(gateway.scim, group)) == clients - may
