"""What an administrator sees first: numbers of people, the last request, and the last day."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from endpoint_support import answered

from hosts import Gateway, eventually
from scim_traffic import new_group, new_user, patched_user, user_body


def overview(gateway: Gateway) -> dict[str, Any]:
    return answered(gateway.scim.get("/Overview"))


def test_people_and_groups_are_counted(gateway: Gateway) -> None:
    new_user(gateway.other_scim)
    users = [new_user(gateway.scim)["id"] for _ in range(3)]
    new_group(gateway.scim, *users)
    patched_user(gateway.scim, users[0], {"op": "replace", "path": "active", "value": False})

    found = overview(gateway)

    assert (found["people"], found["groups"], found["suspended"]) == (3, 1, 1)
    assert found["quarantine"] == {"state": "off", "held": 0}  # as the tests configure it
    assert set(found["deliveries"]) == {"pending", "dead"}
    assert all(found["version"].values())


def test_the_last_request_is_the_providers_and_not_one_of_our_tools(gateway: Gateway) -> None:
    gateway.scim.post("/Users", json=user_body("x" * 3000), headers={"User-Agent": "Okta 1"})
    gateway.scim.get("/Users", headers={"User-Agent": "kong-scim/1.0"})

    last = overview(gateway)["lastRequest"]

    assert (last["method"], last["path"], last["provider"]) == ("POST", "/Users", "Okta")
    assert set(last) == {"at", "method", "path", "status", "token", "provider"}


def test_the_day_has_the_last_24_hours_with_the_present_one_at_the_end(gateway: Gateway) -> None:
    found = overview(gateway)

    hours = [datetime.fromisoformat(each["hour"]) for each in found["day"]]
    now = datetime.fromisoformat(found["now"])
    assert len(hours) == 24
    assert hours[-1] == now.replace(minute=0, second=0, microsecond=0)
    assert all(b - a == timedelta(hours=1) for a, b in pairwise(hours))


def test_requests_failures_and_changes_are_counted_by_the_hour(gateway: Gateway) -> None:
    def sums() -> list[int]:
        day = overview(gateway)["day"]
        return [sum(each[name] for each in day) for name in ("requests", "failed", "changes")]

    def created() -> None:
        """Create a user, and wait until its event is sealed, as all events before it are."""
        user = new_user(gateway.scim)
        query = {"filter": f'resourceId eq "{user["id"]}"', "count": 0}
        eventually(
            lambda: gateway.scim.get("/Events", params=query).json()["totalResults"] == 1,
            "the event of the user",
        )

    created()
    _, failed, changes = sums()
    created()
    requests, *rest = sums()
    assert rest == [failed, changes + 1]

    gateway.scim.get("/Users/nobody")
    assert sums() == [requests + 1, failed + 1, changes + 1]
