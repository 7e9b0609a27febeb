"""Kong's declarative configuration (``_format_version: "3.0"``), as far as the sandbox goes.

What the sandbox does not do is refused by name, with its line: a gateway to try things with must
not let a plugin look as if it were at work.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from kong_scim.sandbox.places import DeclarationError, Document, Place
from kong_scim.sandbox.plugins import PLUGINS, Plugin, PluginConfigError, make

__all__ = ["ConsumerRow", "Declaration", "DeclarationError", "Route", "Service", "load"]

_NAMESPACE = uuid.UUID("6a2d9f43-3b07-4c39-9f39-51f3c2a4f0f5")

_UNKNOWN_FIELD = "extra_forbidden"


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: str | None = None
    tags: list[str] | None = None


class _Foreign(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str | None = None
    id: str | None = None


_Reference: TypeAlias = str | _Foreign | None


class PluginRow(_Row):
    """An entry of ``plugins``, at the top or in a service or route."""

    name: str
    config: dict[str, Any] | None = None
    instance_name: str | None = None
    enabled: bool = True
    protocols: list[str] | None = None
    service: _Reference = None
    route: _Reference = None


class RouteRow(_Row):
    """An entry of ``routes``. Timeouts and buffering are read and have no effect here."""

    name: str | None = None
    paths: Annotated[list[str], Field(min_length=1)] | None = None
    hosts: Annotated[list[str], Field(min_length=1)] | None = None
    methods: Annotated[list[str], Field(min_length=1)] | None = None
    protocols: list[Literal["http", "https"]] = ["http", "https"]
    strip_path: bool = True
    preserve_host: bool = False
    path_handling: Literal["v0"] = "v0"
    https_redirect_status_code: Literal[426] = 426
    regex_priority: int = 0
    request_buffering: bool = True
    response_buffering: bool = True
    service: _Reference = None
    plugins: list[PluginRow] = []

    @field_validator("paths")
    @classmethod
    def _paths_are_prefixes(cls, paths: list[str] | None) -> list[str] | None:
        for path in paths or ():
            if not path.startswith("/"):
                raise ValueError(
                    f"{path!r}: a path starts with / (this sandbox has no ~ regex paths)"
                )
        return paths

    @model_validator(mode="after")
    def _matches_something(self) -> RouteRow:
        if not (self.paths or self.hosts or self.methods):
            raise ValueError("must set one of 'methods', 'hosts', 'paths'")
        return self


class ServiceRow(_Row):
    """An entry of ``services``. Retries are read and have no effect here."""

    name: str | None = None
    url: str | None = None
    protocol: Literal["http", "https"] = "http"
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    path: str | None = None
    retries: int = 5
    connect_timeout: Annotated[int, Field(gt=0)] = 60_000
    write_timeout: Annotated[int, Field(gt=0)] = 60_000
    read_timeout: Annotated[int, Field(gt=0)] = 60_000
    enabled: bool = True
    routes: list[RouteRow] = []
    plugins: list[PluginRow] = []

    @model_validator(mode="after")
    def _goes_somewhere(self) -> ServiceRow:
        if self.url is None and self.host is None:
            raise ValueError("host: required field missing")
        if self.url is not None and not urlsplit(self.url).hostname:
            raise ValueError(f"url: {self.url!r} has no host")
        return self


class KeyRow(_Row):
    """An entry of ``keyauth_credentials``."""

    key: str | None = None
    consumer: str | None = None


class AclRow(_Row):
    """An entry of ``acls``."""

    group: str
    consumer: str | None = None


class ConsumerRow(_Row):
    """An entry of ``consumers``, with its credentials and groups."""

    username: str | None = None
    custom_id: str | None = None
    keyauth_credentials: list[KeyRow] = []
    acls: list[AclRow] = []

    @model_validator(mode="after")
    def _has_a_name(self) -> ConsumerRow:
        if not (self.username or self.custom_id):
            raise ValueError(
                "at least one of these fields must be non-empty: 'custom_id', 'username'"
            )
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    format_version: Literal["3.0"] = Field(alias="_format_version")
    transform: bool = Field(True, alias="_transform")
    comment: str | None = Field(None, alias="_comment")
    info: dict[str, Any] | None = Field(None, alias="_info")
    services: list[ServiceRow] = []
    routes: list[RouteRow] = []
    plugins: list[PluginRow] = []
    consumers: list[ConsumerRow] = []
    keyauth_credentials: list[KeyRow] = []
    acls: list[AclRow] = []


class Service(BaseModel):
    """Where a route's requests go. Timeouts are in milliseconds."""

    id: str
    name: str | None
    protocol: Literal["http", "https"]
    host: str
    port: int
    path: str | None
    connect_timeout: int
    read_timeout: int
    write_timeout: int


class Route(BaseModel):
    """A route with its service and the plugins that run on it, the highest priority first."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    id: str
    name: str | None
    paths: tuple[str, ...]
    hosts: tuple[str, ...]
    methods: tuple[str, ...]
    protocols: tuple[str, ...]
    strip_path: bool
    preserve_host: bool
    service: Service | None
    plugins: tuple[Plugin, ...]


class Declaration(BaseModel):
    """What a declarative file says."""

    routes: list[Route]
    consumers: list[ConsumerRow]


def load(text: str, name: str = "kong.yml") -> Declaration:
    """Read a declarative configuration.

    :param name: What the file is called in errors.
    :raises DeclarationError: With the line, the place, and what is wrong there.
    """
    document = Document(text, name)
    try:
        file = _File.model_validate(document.tree)
    except ValidationError as error:
        raise document.error(*_complaint(error.errors(include_url=False)[0])) from None
    return Declaration(
        routes=list(_routes(document, file)), consumers=list(_consumers(document, file))
    )


def _complaint(problem: ErrorDetails) -> tuple[Place, str]:
    # A reference is a union; pydantic puts the branch it tried into the place.
    place = tuple(part for part in problem["loc"] if part not in ("str", "_Foreign"))
    if problem["type"] != _UNKNOWN_FIELD:
        return place, problem["msg"].removeprefix("Value error, ")
    if len(place) == 1:
        known = sorted(set(_File.model_fields) - {"format_version", "transform", "comment", "info"})
        return place, f"this sandbox has no {place[0]}, only {', '.join(known)}"
    return place, f"{place[-1]}: unknown field, or one that this sandbox does not have"


def _identifier(kind: str, row: _Row, *names: object) -> str:
    return row.id or str(uuid.uuid5(_NAMESPACE, ":".join([kind, *map(str, names)])))


def _names(reference: _Reference, row: ServiceRow | RouteRow) -> bool:
    if isinstance(reference, str):
        return reference in (row.name, row.id)
    return reference is not None and (
        (reference.name is not None and reference.name == row.name)
        or (reference.id is not None and reference.id == row.id)
    )


def _service(row: ServiceRow, place: Place) -> Service:
    url = urlsplit(row.url) if row.url else None
    protocol = url.scheme if url else row.protocol
    return Service.model_validate(
        {
            "id": _identifier("services", row, row.name or place),
            "name": row.name,
            "protocol": protocol,
            "host": (url.hostname if url else row.host),
            "port": ((url.port or (443 if protocol == "https" else 80)) if url else row.port),
            "path": (url.path or None) if url else row.path,
            "connect_timeout": row.connect_timeout,
            "read_timeout": row.read_timeout,
            "write_timeout": row.write_timeout,
        }
    )


def _routes(document: Document, file: _File) -> Iterator[Route]:
    placed: list[tuple[Place, RouteRow, tuple[Place, ServiceRow] | None]] = []
    for index, service in enumerate(file.services):
        place: Place = ("services", index)
        for below, route in enumerate(service.routes):
            placed.append(((*place, "routes", below), route, (place, service)))
    for index, route in enumerate(file.routes):
        place = ("routes", index)
        matches: list[tuple[Place, ServiceRow]] = [
            (("services", position), service)
            for position, service in enumerate(file.services)
            if _names(route.service, service)
        ]
        if route.service is not None and not matches:
            raise document.error((*place, "service"), "there is no such service")
        placed.append((place, route, matches[0] if matches else None))

    _check_references(document, file, [row for _, row, _ in placed])
    for place, row, owner in placed:
        yield Route(
            id=_identifier("routes", row, row.name or place),
            name=row.name,
            paths=tuple(row.paths or ()),
            hosts=tuple(row.hosts or ()),
            methods=tuple(row.methods or ()),
            protocols=tuple(row.protocols),
            strip_path=row.strip_path,
            preserve_host=row.preserve_host,
            service=_service(owner[1], owner[0]) if owner and owner[1].enabled else None,
            plugins=_plugins(document, file, (place, row), owner),
        )


def _check_references(document: Document, file: _File, routes: list[RouteRow]) -> None:
    for index, plugin in enumerate(file.plugins):
        rows: dict[str, list[Any]] = {"service": list(file.services), "route": list(routes)}
        for kind, candidates in rows.items():
            reference = getattr(plugin, kind)
            if reference is not None and not any(_names(reference, row) for row in candidates):
                raise document.error(("plugins", index, kind), f"there is no such {kind}")


def _plugins(
    document: Document,
    file: _File,
    route_at: tuple[Place, RouteRow],
    service_at: tuple[Place, ServiceRow] | None,
) -> tuple[Plugin, ...]:
    """Return the plugins of a route: its own before its service's before the global ones."""
    place, route = route_at
    service_place, service = service_at or ((), None)
    found: dict[str, Plugin] = {}

    def add(row: PluginRow, row_place: Place) -> None:
        if row.name not in PLUGINS:
            raise document.error(
                (*row_place, "name"),
                f"this sandbox has no plugin {row.name!r}, only {', '.join(sorted(PLUGINS))}",
            )
        identifier = _identifier("plugins", row, row.instance_name or row_place)
        try:
            plugin = make(row.name, identifier, row.config or {})
        except PluginConfigError as error:
            raise document.error((*row_place, "config", *error.place), error.message) from None
        if row.enabled:
            found.setdefault(row.name, plugin)

    for index, row in enumerate(route.plugins):
        add(row, (*place, "plugins", index))
    for index, row in enumerate(file.plugins):
        if _names(row.route, route):
            add(row, ("plugins", index))
    for index, row in enumerate(service.plugins if service else ()):
        add(row, (*service_place, "plugins", index))
    for index, row in enumerate(file.plugins):
        if row.route is None and service is not None and _names(row.service, service):
            add(row, ("plugins", index))
    for index, row in enumerate(file.plugins):
        if row.route is None and row.service is None:
            add(row, ("plugins", index))
    return tuple(sorted(found.values(), key=lambda plugin: -plugin.priority))


def _consumers(document: Document, file: _File) -> Iterator[ConsumerRow]:
    loose: tuple[tuple[str, list[Any]], ...] = (
        ("keyauth_credentials", list(file.keyauth_credentials)),
        ("acls", list(file.acls)),
    )
    owners = {row.username: row for row in file.consumers if row.username}
    for kind, rows in loose:
        for index, row in enumerate(rows):
            if row.consumer not in owners:
                raise document.error((kind, index, "consumer"), "there is no such consumer")
    for consumer in file.consumers:
        yield consumer.model_copy(
            update={
                kind: getattr(consumer, kind)
                + [row for row in rows if owners.get(row.consumer) is consumer]
                for kind, rows in loose
            }
        )
