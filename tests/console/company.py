"""A company whose people are on the console, on a tenant of the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hosts import Gateway, eventually
from outbox import run, waiting
from scim_traffic import BULK, answered, new_group, patched_user, user_body

FIRST = [
    "Ada",
    "Grace",
    "Alan",
    "Barbara",
    "Edsger",
    "Frances",
    "Donald",
    "Hedy",
    "Linus",
    "Radia",
    "Ken",
    "Margaret",
    "Dennis",
    "Shafi",
    "Tim",
    "Karen",
    "Niklaus",
    "Adele",
    "Leslie",
    "Anita",
]
LAST = ("Byrne", "Castillo", "Dubois", "Eriksson")

TEAMS = {
    "kong-api-users": range(60),
    "kong-payments": range(10, 40),
    "kong-orders": range(20, 50),
    "kong-reports": range(40, 60, 2),
    "kong-support": range(50, 60),
    "Engineering": range(40),
    "Finance": range(60, 74),
}
NESTED = "kong-platform"
"""A group in which ``Engineering`` is."""

DISABLED = 3
LEAVERS = 5
"""People who are disabled, and people whom the provider deletes although only as many may go."""


@dataclass
class Company:
    """The tenant's gateway, and the ids of its people and groups by their names."""

    gateway: Gateway
    people: dict[str, str]
    groups: dict[str, str]


def names() -> list[tuple[str, str]]:
    """Return the first and the last name of each person."""
    return [(first, last) for last in LAST for first in FIRST]


def user_name(first: str, last: str) -> str:
    return f"{first}.{last}@example.com".lower()


def found(gateway: Gateway) -> Company:
    """Have the identity provider send everybody, and then do something that needs attention."""
    operations = [
        {
            "method": "POST",
            "path": "/Users",
            "bulkId": str(number),
            "data": user_body(
                user_name(first, last),
                displayName=f"{first} {last}",
                externalId=f"00u{number:05}",
                emails=[{"value": user_name(first, last), "primary": True}],
            ),
        }
        for number, (first, last) in enumerate(names())
    ]
    body = {"schemas": [BULK], "Operations": operations}
    done = answered(gateway.scim.post("/Bulk", json=body), 200)["Operations"]
    ids = [each["location"].rpartition("/")[2] for each in done]
    people = {user_name(*each): id_ for each, id_ in zip(names(), ids, strict=True)}
    groups = {
        name: new_group(gateway.scim, *(ids[each] for each in members), name=name)["id"]
        for name, members in TEAMS.items()
    }
    groups[NESTED] = new_group(gateway.scim, groups["Engineering"], name=NESTED)["id"]
    # Who is new may go: these have been there for long.
    run(gateway, "UPDATE scim_resources SET created = '2020-01-01T00:00:00.000000+00:00'")
    for each in ids[:2]:
        gateway.give_key(user_name(*names()[ids.index(each)]))
    for each in ids[5 : 5 + DISABLED]:
        patched_user(gateway.scim, each, {"op": "replace", "path": "active", "value": False})
    for each in ids[-LEAVERS:]:
        gateway.scim.delete(f"/Users/{each}")
    eventually(lambda: waiting(gateway) == 0, "the events to be sealed")
    return Company(gateway, people, groups)


def give_up_deliveries(company: Company) -> None:
    """Give up the first deliveries that failed: in time that would take days.

    One that is being sent meanwhile is noted as failed after that, so it takes another try.
    """

    def given_up() -> bool:
        waiting_ones = deliveries(company.gateway, "pending")
        tried = [each["id"] for each in waiting_ones if each["attempts"]][:3]
        numbers = ", ".join(map(str, tried))
        run(
            company.gateway,
            f"UPDATE scim_deliveries SET state = 'dead' WHERE number IN ({numbers})",
        )
        return len(deliveries(company.gateway, "dead")) >= 3

    eventually(given_up, "deliveries that are given up")


def deliveries(gateway: Gateway, state: str) -> list[dict[str, Any]]:
    """Return the deliveries with a state."""
    answer = gateway.scim.get("/Events/deliveries", params={"state": state, "count": 200})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["deliveries"]
    return found


def resources(gateway: Gateway, kind: str) -> list[dict[str, Any]]:
    """Return every user or group of the tenant."""
    query: dict[str, Any] = {"count": 200, "cursor": "", "sortBy": "meta.created"}
    resources: list[dict[str, Any]] = []
    while True:
        page = answered(gateway.scim.get(f"/{kind}", params=query), 200)
        resources += page.get("Resources", [])
        if "nextCursor" not in page:
            return resources
        query["cursor"] = page["nextCursor"]
