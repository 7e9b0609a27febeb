"""Stands for the consumer groups of Kong Enterprise in the sandbox, as the plugin
``scim-consumer-groups`` does on an open-source Kong.

The entities have the names, fields and keys of the published schema.
"""

from __future__ import annotations

import os
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kong_scim_sandbox import entities
from kong_scim_sandbox.entity_schema import DAOS, Dao
from kong_scim_sandbox.store import Store

OPEN_SOURCE = "OPEN_SOURCE_KONG"
"""The variable of the environment that leaves them out."""

_TABLES = """
CREATE TABLE IF NOT EXISTS consumer_groups (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, tags TEXT,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS consumer_group_consumers (
  consumer_group TEXT NOT NULL REFERENCES consumer_groups ON DELETE CASCADE,
  consumer TEXT NOT NULL REFERENCES consumers ON DELETE CASCADE,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, PRIMARY KEY (consumer_group, consumer)
) STRICT;
CREATE INDEX IF NOT EXISTS consumer_group_consumers_of ON consumer_group_consumers (consumer);
CREATE TABLE IF NOT EXISTS consumer_group_plugins (
  id TEXT PRIMARY KEY, name TEXT NOT NULL,
  consumer_group TEXT NOT NULL REFERENCES consumer_groups ON DELETE CASCADE,
  created_at INTEGER NOT NULL
) STRICT;
"""

_DAOS = (
    Dao("consumer_groups", ("name",), ("name",), foreign={}, updated=True),
    Dao(
        "consumer_group_consumers",
        (),
        ("consumer_group", "consumer"),
        foreign={"consumer_group": "consumer_groups", "consumer": "consumers"},
        primary_key=("consumer_group", "consumer"),
        tagged=False,
        updated=True,
    ),
    Dao(
        "consumer_group_plugins",
        ("name",),
        ("id",),
        foreign={"consumer_group": "consumer_groups"},
        tagged=False,
    ),
)


def add() -> None:
    """Have the sandbox of this process know these entities."""
    if OPEN_SOURCE not in os.environ and _DAOS[0].name not in DAOS:
        DAOS.update({dao.name: dao for dao in _DAOS})
        entities.TABLES += _TABLES


def add_routes(api: Starlette, store: Store) -> None:
    """Add the routes of the Admin API for consumer groups, as far as the tests need them."""

    def group_of(request: Request) -> dict[str, Any]:
        name = request.path_params["group"]
        return entities.select(store.entities, "consumer_groups", "name", name)[0]

    async def groups(request: Request) -> Response:
        if request.method == "POST":
            body = await request.json()
            with store.writing() as connection:
                return JSONResponse(entities.insert(connection, "consumer_groups", body), 201)
        found = entities.page(store.entities, "consumer_groups", size=1000)
        return JSONResponse({"data": found, "next": None})

    async def group(request: Request) -> Response:
        with store.writing() as connection:
            entities.delete(connection, "consumer_groups", group_of(request))
        return Response(status_code=204)

    async def add_to(request: Request) -> Response:
        body = await request.json()
        row = {"consumer_group": {"id": group_of(request)["id"]}}
        row |= (
            {"consumer": {"id": body["consumer"]}}
            if request.path_params["kind"] == "consumers"
            else {"name": body["name"]}
        )
        with store.writing() as connection:
            name = f"consumer_group_{request.path_params['kind']}"
            return JSONResponse(entities.insert(connection, name, row), 201)

    async def groups_of(request: Request) -> Response:
        consumer = entities.find_consumer(store.entities, request.path_params["consumer"])
        assert consumer is not None
        rows = entities.select(
            store.entities, "consumer_group_consumers", "consumer", consumer["id"]
        )
        found = [
            group
            for row in rows
            for group in entities.select(
                store.entities, "consumer_groups", "id", row["consumer_group"]["id"]
            )
        ]
        return JSONResponse({"consumer_groups": found})

    routes = {
        "/consumer_groups": (groups, "GET", "POST"),
        "/consumer_groups/{group}": (group, "DELETE"),
        "/consumer_groups/{group}/{kind}": (add_to, "POST"),
        "/consumers/{consumer}/consumer_groups": (groups_of, "GET"),
    }
    for path, (handler, *methods) in routes.items():
        api.add_route(path, handler, methods=methods)
        api.router.routes.insert(0, api.router.routes.pop())  # before /consumers/{consumer}/{kind}
