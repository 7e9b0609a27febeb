"""The events that a gateway's changes left, as whoever reads the audit trail sees them."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import httpx
import psycopg

from hosts import Gateway, eventually


def events(
    gateway: Gateway, resource_id: str | None = None, *, scim: httpx.Client | None = None
) -> list[dict[str, Any]]:
    """Return the events of all resources or of one, in order, once all are in the trail.

    :param scim: Of the tenant; None for tenant ``a``.
    """
    eventually(lambda: waiting(gateway) == 0, "the events to be sealed")
    client = scim or gateway.scim
    query: dict[str, Any] = {"sortBy": "sequence", "cursor": "", "count": 200}
    if resource_id is not None:
        query["filter"] = f'resourceId eq "{resource_id}"'
    found: list[dict[str, Any]] = []
    while True:
        page = client.get("/Events", params=query).raise_for_status().json()
        found += page.get("Resources", [])
        if "nextCursor" not in page:
            return found
        query["cursor"] = page["nextCursor"]


def waiting(gateway: Gateway) -> int:
    """Return how many events are in the outbox."""
    return int(_run(gateway, "SELECT count(*) FROM scim_outbox")[0][0])


def run(gateway: Gateway, statement: str) -> None:
    """Change a table behind the gateway's back."""
    _run(gateway, statement)


def _run(gateway: Gateway, statement: str) -> list[Any]:
    if gateway.host.sqlite is not None:
        with contextlib.closing(sqlite3.connect(gateway.host.sqlite)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            rows = connection.execute(statement).fetchall()
            connection.commit()
            return rows
    with psycopg.connect(gateway.host.postgres.dsn) as server:
        cursor = server.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
