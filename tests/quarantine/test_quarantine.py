"""Too many people who leave at once are held back, on every host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from quarantine_support import crowd, gone, is_active, is_there, settle, standing

from hosts import Gateway
from outbox import run
from scim_traffic import (
    BULK,
    PATCH,
    answered,
    get,
    new_group,
    new_user,
    patch,
    patched_user,
    refused,
    user_body,
)

pytestmark = pytest.mark.long

LIMIT = 3
DEACTIVATE = {"op": "replace", "value": {"active": False}}
ACTIVATE = {"op": "replace", "value": {"active": True}}


@pytest.fixture
def few(gateway_with: Callable[..., Gateway]) -> Gateway:
    """A gateway that lets three users go."""
    return gateway_with(quarantine={"users": LIMIT})


@pytest.fixture
def full(few: Gateway) -> Gateway:
    """The same, in quarantine: three users are gone, and a fourth was held back."""
    assert gone(few.scim, crowd(few, LIMIT)) == [204] * LIMIT
    refused(few.scim.delete(f"/Users/{crowd(few, 1)[0]}"), 409)
    return few


def by_delete(scim: httpx.Client, user: str) -> httpx.Response:
    return scim.delete(f"/Users/{user}")


def by_patch(scim: httpx.Client, user: str) -> httpx.Response:
    return patch(scim, f"/Users/{user}", DEACTIVATE)


def as_entra_does(scim: httpx.Client, user: str) -> httpx.Response:
    return patch(scim, f"/Users/{user}", {"op": "Replace", "path": "Active", "value": "False"})


def by_put(scim: httpx.Client, user: str) -> httpx.Response:
    name = get(scim, f"/Users/{user}")["userName"]
    return scim.put(f"/Users/{user}", json=user_body(name, active=False))


WAYS = [by_delete, by_patch, as_entra_does, by_put]


class TestHowManyMayGo:
    def test_so_many_go_and_the_next_one_keeps_everything(self, few: Gateway) -> None:
        people = crowd(few, LIMIT + 2)
        alice = new_user(few.scim, "alice")["id"]
        settle(few)
        key = few.give_key("alice")
        assert gone(few.scim, people[:LIMIT]) == [204] * LIMIT
        assert standing(few)["state"] == "open"
        sentence = refused(few.scim.delete(f"/Users/{alice}"), 409)
        assert "3 of 6 users were deactivated or deleted within 60 minutes" in sentence
        assert "kong-scim quarantine show" in sentence
        assert is_active(few.scim, alice)
        assert few.call(key, "/keyed").status_code == 200
        assert gone(few.scim, people[LIMIT:]) == [409, 409]

    @pytest.mark.parametrize("way", WAYS)
    def test_however_they_leave_they_count(
        self, few: Gateway, way: Callable[[httpx.Client, str], httpx.Response]
    ) -> None:
        people = crowd(few, LIMIT + 1)
        assert all(way(few.scim, each).is_success for each in people[:LIMIT])
        refused(few.scim.delete(f"/Users/{people[-1]}"), 409)
        found = standing(few)
        assert (found["gone"], found["state"]) == (LIMIT, "quarantined")

    @pytest.mark.parametrize("way", WAYS)
    def test_however_they_are_to_leave_they_are_held_back(
        self, full: Gateway, way: Callable[[httpx.Client, str], httpx.Response]
    ) -> None:
        alice = new_user(full.scim)["id"]
        refused(way(full.scim, alice), 409)
        assert is_active(full.scim, alice)

    def test_each_operation_of_a_bulk_request_has_its_own_answer(self, few: Gateway) -> None:
        people = crowd(few, LIMIT + 2)
        operations: list[dict[str, Any]] = [
            {"method": "DELETE", "path": f"/Users/{each}"} for each in people[:-1]
        ]
        operations += [
            {"method": "POST", "path": "/Users", "bulkId": "new", "data": user_body()},
            {
                "method": "PATCH",
                "path": f"/Users/{people[-1]}",
                "data": {"schemas": [PATCH], "Operations": [DEACTIVATE]},
            },
        ]
        body = {"schemas": [BULK], "Operations": operations}
        done = answered(few.scim.post("/Bulk", json=body), 200)["Operations"]
        assert [each["status"] for each in done] == ["204"] * LIMIT + ["409", "201", "409"]
        assert "quarantine" in done[-1]["response"]["detail"]

    @pytest.mark.parametrize("on_deactivate", ["suspend", "delete"])
    def test_whatever_a_deactivation_is_in_kong_it_counts(
        self, gateway_with: Callable[..., Gateway], on_deactivate: str
    ) -> None:
        gateway = gateway_with(quarantine={"users": 1}, on_deactivate=on_deactivate)
        alice, bob = crowd(gateway, 2)
        patched_user(gateway.scim, alice, DEACTIVATE)
        refused(patch(gateway.scim, f"/Users/{bob}", DEACTIVATE), 409)

    def test_a_user_counts_once(self, few: Gateway) -> None:
        alice, *others = crowd(few, LIMIT + 1)
        for _ in range(2):
            patched_user(few.scim, alice, DEACTIVATE)
            patched_user(few.scim, alice, ACTIVATE)
        assert standing(few)["gone"] == 1
        assert gone(few.scim, [alice, *others]) == [204] * LIMIT + [409]

    def test_who_comes_back_counts_nevertheless(self, few: Gateway) -> None:
        """The credentials do not come back, so a provider that flaps does the same harm."""
        people = crowd(few, LIMIT + 1)
        for each in people[:LIMIT]:
            patched_user(few.scim, each, DEACTIVATE)
            patched_user(few.scim, each, ACTIVATE)
        refused(patch(few.scim, f"/Users/{people[-1]}", DEACTIVATE), 409)

    def test_a_share_of_the_users_may_go_and_those_gone_are_among_them(
        self, gateway_with: Callable[..., Gateway]
    ) -> None:
        gateway = gateway_with(quarantine={"share": 50, "at_least": 1})
        people = crowd(gateway, 8)
        assert standing(gateway)["allowed"] == 4
        assert gone(gateway.scim, people[:5]) == [204] * 4 + [409]
        sentence = refused(gateway.scim.delete(f"/Users/{people[5]}"), 409)
        assert "4 of 8 users" in sentence

    def test_a_small_tenant_may_lose_as_many_as_never_are_too_many(
        self, gateway_with: Callable[..., Gateway]
    ) -> None:
        gateway = gateway_with(quarantine={})
        assert gone(gateway.scim, crowd(gateway, 11)) == [204] * 10 + [409]

    def test_what_is_older_than_the_window_does_not_count(self, few: Gateway) -> None:
        people = crowd(few, 2 * LIMIT + 1)
        assert gone(few.scim, people[:LIMIT]) == [204] * LIMIT
        assert standing(few)["gone"] == LIMIT
        run(few, "UPDATE scim_departures SET at = '2020-01-01T00:00:00.000000+00:00'")
        assert standing(few)["gone"] == 0
        assert gone(few.scim, people[LIMIT:]) == [204] * LIMIT + [409]
        assert standing(few)["removedTotal"] == LIMIT

    def test_what_fails_does_not_count(self, few: Gateway) -> None:
        (alice,) = crowd(few, 1)
        for _ in range(LIMIT):
            refused(few.scim.delete("/Users/nobody"), 404)
            stale = few.scim.delete(f"/Users/{alice}", headers={"If-Match": 'W/"77"'})
            refused(stale, 412)
        assert standing(few)["gone"] == 0

    def test_one_tenant_is_not_held_for_another(
        self, few: Gateway, gateway_with: Callable[..., Gateway]
    ) -> None:
        other = gateway_with(quarantine={"users": LIMIT, "window": 61})
        people = crowd(other, LIMIT)
        assert gone(few.scim, crowd(few, LIMIT + 1)) == [204] * LIMIT + [409]
        assert gone(other.scim, people) == [204] * LIMIT

    def test_without_it_everybody_may_go(self, gateway: Gateway) -> None:
        assert gone(gateway.scim, crowd(gateway, 12)) == [204] * 12
        assert standing(gateway)["state"] == "off"


class TestInQuarantine:
    def test_everything_else_goes_on(self, full: Gateway) -> None:
        alice, bob = (new_user(full.scim, active=active)["id"] for active in (True, False))
        patched_user(full.scim, alice, {"op": "replace", "value": {"title": "Boss"}})
        patched_user(full.scim, bob, DEACTIVATE)  # is no change
        staff = new_group(full.scim, alice)["id"]
        remove = {"op": "remove", "path": f'members[value eq "{alice}"]'}
        assert patch(full.scim, f"/Groups/{staff}", remove).status_code == 204
        assert full.scim.delete(f"/Groups/{staff}").status_code == 204
        patched_user(full.scim, bob, ACTIVATE)
        assert get(full.scim, "/Users")["totalResults"] == 3

    def test_who_was_removed_and_who_would_have_been_is_shown(self, few: Gateway) -> None:
        bob, *others = crowd(few, LIMIT)
        alice = new_user(few.scim, "alice")["id"]
        settle(few)
        patched_user(few.scim, bob, DEACTIVATE)
        assert gone(few.scim, [*others, alice, alice, bob]) == [204] * 2 + [409] * 3
        found = standing(few)
        assert [each["id"] for each in found["removed"]] == [bob, *others]
        assert [each["operation"] for each in found["removed"]] == ["deactivate", *["delete"] * 2]
        assert "userName" in found["removed"][0]
        assert "userName" not in found["removed"][1]
        (held,) = found["held"]
        shown = {name: held[name] for name in ("id", "userName", "operation", "refused")}
        assert shown == {"id": alice, "userName": "alice", "operation": "delete", "refused": 2}
        assert (found["removedTotal"], found["heldTotal"], found["refused"]) == (LIMIT, 1, 3)
        assert is_there(few.scim, bob)

    def test_it_outlives_the_plugin_server_and_the_gateway(self, fresh_net: Gateway) -> None:
        people = crowd(fresh_net, LIMIT + 2)
        statuses = gone(fresh_net.scim, people)
        assert statuses[-2:] == [409, 409]
        before = standing(fresh_net)
        fresh_net.kill_plugin_server()
        fresh_net.wait()
        assert gone(fresh_net.any_scim, people[-1:]) == [409]
        fresh_net.restart()
        assert gone(fresh_net.any_scim, people[-1:]) == [409]
        after = standing(fresh_net)
        assert (after["since"], after["removed"]) == (before["since"], before["removed"])
