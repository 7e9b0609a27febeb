"""People who leave, and what becomes of those who ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from hosts import Gateway
from outbox import run
from scim_traffic import BULK, answered, get, user_body


@dataclass(frozen=True)
class Rehearsal:
    """A gateway, and another route of the same tenant whose plugin writes nothing."""

    real: Gateway
    dry: httpx.Client


LONG_AGO = "2020-01-01T00:00:00.000000+00:00"


def settle(gateway: Gateway) -> None:
    """Make everybody somebody who has been there for long: who is new may go."""
    run(gateway, f"UPDATE scim_resources SET created = '{LONG_AGO}' WHERE type = 'User'")


def crowd(gateway: Gateway, count: int, **attributes: Any) -> list[str]:
    """Create users in one request who have been there for long, and return their ids."""
    people = newcomers(gateway.scim, count, **attributes)
    settle(gateway)
    return people


def newcomers(scim: httpx.Client, count: int, **attributes: Any) -> list[str]:
    """Create users in one request, and return their ids."""
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": str(n), "data": user_body(**attributes)}
        for n in range(count)
    ]
    body = {"schemas": [BULK], "Operations": operations}
    done = answered(scim.post("/Bulk", json=body), 200)["Operations"]
    return [each["location"].rpartition("/")[2] for each in done]


def gone(scim: httpx.Client, ids: list[str]) -> list[int]:
    """Delete users one after the other, and return the statuses."""
    return [scim.delete(f"/Users/{each}").status_code for each in ids]


def standing(gateway: Gateway) -> dict[str, Any]:
    """Return how the quarantine of tenant ``a`` stands."""
    found: dict[str, Any] = gateway.scim.get("/Quarantine").raise_for_status().json()
    return found


def is_there(scim: httpx.Client, user: str) -> bool:
    return scim.get(f"/Users/{user}").status_code == 200


def is_active(scim: httpx.Client, user: str) -> bool:
    return get(scim, f"/Users/{user}")["active"] is not False
