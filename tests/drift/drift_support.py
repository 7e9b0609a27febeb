"""How the tests look at drift, mend it, and change Kong by hand."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from hosts import Gateway
from kong_scim.cli.main import main
from scim_traffic import BULK, answered, user_body


def drift(scim: httpx.Client, **query: str | int) -> list[dict[str, Any]]:
    """Return all differences, from as many parts as there are."""
    found: list[dict[str, Any]] = []
    while True:
        answer = scim.get("/Drift", params=query)
        assert answer.status_code == 200, answer.text
        part = answer.json()
        found += part["differences"]
        if part["next"] is None:
            assert part["total"] == len(found) == sum(part["byKind"].values())
            return found
        query["cursor"] = part["next"]


def kinds(scim: httpx.Client, **query: str | int) -> set[tuple[str, str]]:
    """Return the differences by user and kind, each of which must be there once."""
    found = [(each["user"], each["kind"]) for each in drift(scim, **query)]
    assert len(found) == len(set(found))
    return set(found)


def reconciled(scim: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    """Mend all differences, and return what became of each."""
    results: list[dict[str, Any]] = []
    while True:
        answer = scim.post("/Drift", json=body)
        assert answer.status_code == 200, answer.text
        part = answer.json()
        results += part["results"]
        if part["next"] is None:
            return results
        body["cursor"] = part["next"]


def previewed(scim: httpx.Client, config: dict[str, Any], **body: Any) -> list[dict[str, Any]]:
    """Return what another configuration would change, for each user that it changes."""
    answer = scim.post("/Drift/preview", json={"config": config, **body})
    assert answer.status_code == 200, answer.text
    part: dict[str, Any] = answer.json()
    changes: list[dict[str, Any]] = part["changes"]
    if part["next"] is not None:
        changes += previewed(scim, config, **{**body, "cursor": part["next"]})
    return changes


def command(gateway: Gateway, *arguments: str) -> Result:
    """Run ``kong-scim`` with the gateway's URL and token."""
    environment = {"SCIM_URL": gateway.scim_base, "SCIM_TOKEN": gateway.token}
    return CliRunner().invoke(main, arguments, env=environment)


def lines(result: Result) -> list[dict[str, Any]]:
    """Return the JSON lines that a command printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def people(scim: httpx.Client, count: int, **attributes: Any) -> list[str]:
    """Create users by bulk requests, and return their ids."""
    ids: list[str] = []
    for start in range(0, count, 100):
        operations = [
            {"method": "POST", "path": "/Users", "bulkId": str(n), "data": user_body(**attributes)}
            for n in range(start, min(count, start + 100))
        ]
        done = answered(scim.post("/Bulk", json={"schemas": [BULK], "Operations": operations}), 200)
        ids += [each["location"].rpartition("/")[2] for each in done["Operations"]]
    return ids


def change_consumer(gateway: Gateway, consumer: str, **fields: Any) -> None:
    """Change a consumer by Kong's Admin API, as an administrator does."""
    gateway.admin.patch(f"/consumers/{consumer}", json=fields).raise_for_status()


def give_group(gateway: Gateway, consumer: str, group: str, *tags: str) -> None:
    """Give a consumer an ACL group by Kong's Admin API."""
    fields = {"group": group, "tags": list(tags)}
    gateway.admin.post(f"/consumers/{consumer}/acls", json=fields).raise_for_status()


def take_group(gateway: Gateway, consumer: str, group: str) -> None:
    """Take an ACL group from a consumer by Kong's Admin API."""
    gateway.admin.delete(f"/consumers/{consumer}/acls/{group}").raise_for_status()


def only_with_a_database(gateway: Gateway) -> None:
    """Skip a test that changes entities of Kong by hand, which a DB-less Kong refuses."""
    if gateway.host.dbless:
        pytest.skip("on a DB-less Kong nobody else can change an entity")
