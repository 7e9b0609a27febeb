"""The admin port: the part of Kong's Admin API that is needed to see and to try Kong SCIM.

Consumers, their keys and their groups can be read, made and deleted, and plugins can be turned on
and off. Nothing else can be changed. DB-less, it takes a whole configuration instead, and
credentials by scim-bridge's routes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kong_scim_sandbox import entities
from kong_scim_sandbox.declarative import Declaration, DeclarationError, load
from kong_scim_sandbox.entity_schema import DaoError, Entity, is_text
from kong_scim_sandbox.exchange import JSON, SERVER
from kong_scim_sandbox.metrics import CONTENT_TYPE, Metrics
from kong_scim_sandbox.node import Node
from kong_scim_sandbox.store import Store

_Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_LARGEST_BODY = 1024 * 1024
_MAX_SIZE = 1000

_STATUS = {2: 400, 3: 409, 4: 400, 5: 409, 6: 404, 12: 405}
"""HTTP status by a DAO error's code (``kong/api/endpoints.lua``)."""

_OWNED = {"acls": ("acls", "group"), "key-auth": ("keyauth_credentials", "key")}
"""The DAO, and the field that names an entity in a URL, by the part of the path."""

_READ_ONLY = (
    "Method not allowed: this sandbox is no Kong. Its Admin API reads, creates and deletes "
    "consumers, acls and key-auth, and turns plugins on and off; "
    "the rest is in the declarative file"
)


_BROKEN_TEXT = "A name or a value has a NUL character, or is not UTF-8: send text"

_ROUTE = "/scim-bridge/consumers/:consumers/:credential"
_BRIDGE = {False: (_ROUTE, "POST"), True: (f"{_ROUTE}/:id", "DELETE")}
"""The routes of scim-bridge, by whether they have the id of a credential."""


def admin_api(
    store: Store,
    status: Callable[[], dict[str, Any]],
    node: Node,
    configure: Callable[[Declaration], None],
    metrics: Metrics,
) -> Starlette:
    """Return the application of the admin port.

    :param status: Returns the answer of ``GET /status``.
    :param configure: Makes the routes and plugins of a declaration take effect.
    """
    api = _AdminApi(store, status, node, configure)

    async def show_metrics(request: Request) -> Response:
        _allow(request, "GET")
        headers = {"Server": SERVER, "Content-Type": CONTENT_TYPE}
        return Response(metrics.text(), headers=headers)

    routes = [
        ("/config", api.config),
        ("/scim-bridge/consumers/{consumer}/{kind}", api.bridge),
        ("/scim-bridge/consumers/{consumer}/{kind}/{entity}", api.bridge),
        ("/", api.root),
        ("/status", api.status),
        ("/metrics", show_metrics),
        ("/plugins", api.plugins),
        ("/routes", api.routes),
        ("/plugins/{plugin}", api.plugin),
        ("/consumers", api.consumers),
        ("/consumers/{consumer}", api.consumer),
        ("/consumers/{consumer}/{kind}", api.owned),
        ("/consumers/{consumer}/{kind}/{entity}", api.owned_entity),
    ]
    return Starlette(
        # Without a list of methods starlette passes all of them, so the handler answers the 405.
        routes=[Route(path, _Endpoint(handler)) for path, handler in routes],
        exception_handlers={HTTPException: _refused, DaoError: _violated},
    )


class _Endpoint:
    def __init__(self, handler: _Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if b"%00" in scope["raw_path"] or not all(map(is_text, request.path_params.values())):
            raise HTTPException(400, "Bad request")  # Nginx answers this, not Kong
        if not all(is_text(text) for item in request.query_params.multi_items() for text in item):
            raise HTTPException(400, _BROKEN_TEXT)
        response = await self._handler(request)
        await response(scope, receive, send)


class _AdminApi:
    def __init__(
        self,
        store: Store,
        status: Callable[[], dict[str, Any]],
        node: Node,
        configure: Callable[[Declaration], None],
    ) -> None:
        self._store = store
        self._status = status
        self._node = node
        self._configure = configure

    @property
    def _database(self) -> sqlite3.Connection:
        return self._store.entities

    async def root(self, request: Request) -> Response:
        _allow(request, "GET")
        return _json(
            200, {"tagline": "A sandbox for Kong SCIM. This is no Kong.", "version": SERVER}
        )

    async def status(self, request: Request) -> Response:
        _allow(request, "GET")
        return _json(200, self._status())

    async def config(self, request: Request) -> Response:
        """Replace the whole configuration (``kong/api/routes/config.lua``)."""
        _allow(request, "POST")
        if not self._store.dbless:
            message = (
                "this endpoint is only available when Kong is configured to not use a database"
            )
            raise HTTPException(400, message)
        body = await _body(request)
        text = body["config"] if isinstance(body.get("config"), str) else json.dumps(body)
        try:
            declaration = load(text, "the configuration")
        except DeclarationError as error:
            raise DaoError(14, "invalid declarative configuration", str(error), {}) from None
        self._store.load(declaration.consumers)
        self._configure(declaration)
        return _json(201, {})

    async def plugins(self, request: Request) -> Response:
        """Show the plugins."""
        _allow(request, "GET")
        found = [each.model_dump() for each in self._node.declaration.plugins]
        return _json(200, {"data": found, "next": None})

    async def routes(self, request: Request) -> Response:
        """Show the routes, as far as somebody wants to know what they lead to."""
        _allow(request, "GET")
        found = [
            {
                "id": each.id,
                "name": each.name,
                "paths": each.paths,
                "service": {"id": each.service.id} if each.service else None,
            }
            for each in self._node.declaration.routes
        ]
        return _json(200, {"data": found, "next": None})

    async def plugin(self, request: Request) -> Response:
        """Show a plugin, or turn it on or off (``{"enabled": false}``)."""
        _allow(request, "GET", "PATCH")
        wanted = request.path_params["plugin"]
        if request.method == "PATCH":
            body = await _body(request)
            if body.keys() != {"enabled"} or not isinstance(body["enabled"], bool):
                raise HTTPException(405, _READ_ONLY)
            self._refuse_dbless("update", "plugins")
            _present(self._plugin(wanted))
            self._configure(self._node.declaration.switched(wanted, enabled=body["enabled"]))
        return _json(200, _present(self._plugin(wanted)))

    def _plugin(self, identifier: str) -> Entity | None:
        found = (each for each in self._node.declaration.plugins if each.id == identifier)
        return next((each.model_dump() for each in found), None)

    async def bridge(self, request: Request) -> Response:
        """Make or delete a credential by a route of scim-bridge (``api.lua``)."""
        route, method = _BRIDGE["entity" in request.path_params]
        _allow(request, method)
        path = request.path_params
        names = {"consumers": path["consumer"], "credential": path["kind"]}
        if "entity" in path:
            names["id"] = path["entity"]
        params = {**await _body(request), **names}
        facts = {
            "method": method,
            "request_id": secrets.token_hex(16),
            "vars": {"remote_addr": request.client.host if request.client else ""},
        }
        try:
            status, body = await asyncio.to_thread(
                self._store.bridge.admin, route, method, params, facts
            )
        except UnicodeEncodeError:
            raise HTTPException(400, _BROKEN_TEXT) from None
        return _json(status, body)

    def _refuse_dbless(self, operation: str, name: str) -> None:
        if self._store.dbless:
            message = f"cannot {operation} '{name}' entities when not using a database"
            raise DaoError(12, "operation unsupported", message, {})

    async def consumers(self, request: Request) -> Response:
        _allow(request, "GET", "POST")
        if request.method == "POST":
            self._refuse_dbless("create", "consumers")
            body = await _body(request)  # before the transaction: others write meanwhile
            with self._store.writing() as connection:
                made = entities.insert(connection, "consumers", body)
            return _json(201, made)
        custom_id = request.query_params.get("custom_id")
        return self._page(request, "consumers", {"custom_id": custom_id} if custom_id else {})

    async def consumer(self, request: Request) -> Response:
        _allow(request, "GET", "PATCH", "DELETE")
        found = entities.find_consumer(self._database, request.path_params["consumer"])
        if request.method == "GET":
            return _json(200, _present(found))
        if request.method == "PATCH":
            self._refuse_dbless("update", "consumers")
            known, changes = _present(found), {**await _body(request)}
            changes.pop("id", None)
            with self._store.writing() as connection:
                return _json(200, entities.update(connection, known, changes))
        if found is not None:
            self._refuse_dbless("remove", "consumers")
            with self._store.writing() as connection:
                entities.delete(connection, "consumers", found)
        return _json(204)

    async def owned(self, request: Request) -> Response:
        name, _ = _kind(request)
        _allow(request, "GET", "POST")
        owner = {"id": self._owner(request)["id"]}
        if request.method == "POST":
            self._refuse_dbless("create", name)
            fields = {**await _body(request), "consumer": owner}
            with self._store.writing() as connection:
                made = entities.insert(connection, name, fields)
            return _json(201, made)
        return self._page(request, name, {"consumer": owner["id"]})

    async def owned_entity(self, request: Request) -> Response:
        name, field = _kind(request)
        _allow(request, "GET", "DELETE")
        wanted = request.path_params["entity"]
        owned = entities.select(self._database, name, "consumer", self._owner(request)["id"])
        found = next((row for row in owned if wanted in (row["id"], row[field])), None)
        if request.method == "GET":
            return _json(200, _present(found))
        if found is not None:
            self._refuse_dbless("remove", name)
            with self._store.writing() as connection:
                entities.delete(connection, name, found)
        return _json(204)

    def _owner(self, request: Request) -> Entity:
        return _present(entities.find_consumer(self._database, request.path_params["consumer"]))

    def _page(self, request: Request, name: str, equal: dict[str, Any]) -> Response:
        query = request.query_params
        size = _size(query.get("size", "100"))
        tags, any_tag = _tags(query.get("tags"))
        after = _unpacked(query["offset"]) if "offset" in query else ""
        rows = entities.page(
            self._database,
            name,
            size=size + 1,
            after=after,
            equal=equal,
            tags=tags,
            any_tag=any_tag,
        )
        body: dict[str, Any] = {"data": rows[:size], "next": None}
        if len(rows) > size:
            body["offset"] = _packed(rows[size - 1]["id"])
            again = {**dict(query.items()), "offset": body["offset"]}
            body["next"] = f"{request.url.path}?{urlencode(sorted(again.items()))}"
        return _json(200, body)


def _json(status: int, body: Any = None) -> Response:
    if status == 204:
        return Response(status_code=204, headers={"Server": SERVER})
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return Response(text, status, headers={"Server": SERVER, "Content-Type": JSON})


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods and not (request.method == "HEAD" and "GET" in methods):
        raise HTTPException(405, _READ_ONLY, headers={"Allow": ", ".join(methods)})


def _present(entity: Entity | None) -> Entity:
    if entity is None:
        raise HTTPException(404, "Not found")
    return entity


def _kind(request: Request) -> tuple[str, str]:
    kind = request.path_params["kind"]
    if kind not in _OWNED:
        raise HTTPException(404, "Not found")
    return _OWNED[kind]


async def _body(request: Request) -> dict[str, Any]:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _LARGEST_BODY:
            raise HTTPException(413, "Payload too large")
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return _form(raw.decode(errors="surrogateescape"))
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, "Cannot parse JSON body")
    return body


def _form(text: str) -> dict[str, Any]:
    """Return the fields of a form such as ``group=devs&tags[]=a&tags[]=b``."""
    fields: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, errors="surrogateescape"):
        if name.endswith("[]"):
            fields.setdefault(name[:-2], []).append(value)
        else:
            fields[name] = value
    return fields


def _size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_SIZE:
        message = f"size must be an integer between 1 and {_MAX_SIZE}"
        raise DaoError(9, "invalid size", message, {"size": message})
    return int(text)


def _tags(text: str | None) -> tuple[list[str], bool]:
    if not text:
        return [], False
    any_tag = "/" in text
    return text.split("/" if any_tag else ","), any_tag


def _packed(identifier: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([identifier]).encode()).decode().rstrip("=")


def _unpacked(offset: str) -> str:
    try:
        [identifier] = json.loads(base64.urlsafe_b64decode(offset + "=" * (-len(offset) % 4)))
    except ValueError:
        message = f"'{offset}' is not a valid offset: bad base64 encoding"
        raise DaoError(7, "invalid offset", message, {}) from None
    return str(identifier)


async def _refused(_request: Request, error: Exception) -> Response:
    refusal = cast(HTTPException, error)
    message = refusal.detail.replace("Not Found", "Not found")
    response = _json(refusal.status_code, {"message": message})
    response.headers.update(refusal.headers or {})
    return response


async def _violated(_request: Request, error: Exception) -> Response:
    violation = cast(DaoError, error)
    return _json(_STATUS.get(violation.code, 400), violation.body())
