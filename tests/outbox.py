"""The events that a gateway's changes left, as its database has them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import Any

import psycopg
from psycopg.rows import dict_row

from hosts import Gateway

_ALL = "SELECT * FROM scim_outbox ORDER BY position"


def events(gateway: Gateway, resource_id: str | None = None) -> list[dict[str, Any]]:
    """Return the events of all resources or of one, in order: columns and document in one."""
    if gateway.host.sqlite is not None:
        with contextlib.closing(sqlite3.connect(gateway.host.sqlite)) as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute(_ALL)]
    else:
        with psycopg.connect(gateway.host.postgres.dsn, row_factory=dict_row) as server:
            rows = server.execute(_ALL).fetchall()
    found = [read(row) for row in rows]
    return [each for each in found if resource_id in (None, each["resource_id"])]


def read(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the outbox with its document in it."""
    return {**row, **json.loads(row["doc"]), "written": json.loads(row["written"])}
