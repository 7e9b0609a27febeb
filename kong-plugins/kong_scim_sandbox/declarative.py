"""Reads Kong's declarative configuration (``_format_version: "3.0"``) as far as the sandbox goes.

A field or plugin that the sandbox does not have is an error with its line, so that nobody takes a
plugin for active that is not.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from kong_scim_sandbox.declarative_rows import (
    ConsumerRow,
    DeclaredRow,
    File,
    PluginRow,
    Reference,
    RouteRow,
    ServiceRow,
)
from kong_scim_sandbox.places import DeclarationError, Document, Place
from kong_scim_sandbox.plugins import PLUGINS, BridgeConfig, DeclaredPlugin, PluginConfigError, make

__all__ = ["Declaration", "DeclarationError", "Route", "Service", "load"]

_NAMESPACE = uuid.UUID("6a2d9f43-3b07-4c39-9f39-51f3c2a4f0f5")

_UNKNOWN_FIELD = "extra_forbidden"


class Service(BaseModel):
    """The service that a route's requests are sent to. Timeouts are in milliseconds."""

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
    plugins: tuple[DeclaredPlugin, ...]
    hides_identity: BridgeConfig | None
    """The global scim-bridge if it removes headers of clients that tell who calls."""


class PluginEntity(BaseModel):
    """A plugin as the Admin API shows it, enabled or not."""

    id: str
    name: str
    enabled: bool
    route: dict[str, str] | None
    service: dict[str, str] | None
    config: dict[str, Any]
    """As it was declared, with the defaults of absent fields."""


class Declaration(BaseModel):
    """The content of a declarative file.

    :param declared: The rows of services and routes, as Kong's DAOs have them.
    :param text: The text of the file.
    :param name: The name of the file in errors.
    :param switches: Whether plugins were turned on or off since, by their ids.
    """

    routes: list[Route]
    declared: dict[str, list[dict[str, Any]]]
    consumers: list[ConsumerRow]
    plugins: list[PluginEntity]
    text: str
    name: str
    switches: dict[str, bool]

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return plugins, routes and services as scim-bridge reads them, without absent fields."""
        plugins = []
        for each in self.plugins:
            config = {name: value for name, value in each.config.items() if value is not None}
            if each.name == "scim":  # scim-bridge reads nothing else of it
                subjects = config.get("subjects", [])
                config = {"tenant": config.get("tenant", "default"), "subjects": subjects}
            plugins.append({**each.model_dump(exclude_none=True), "config": config})
        return {"plugins": plugins, **self.declared}

    def switched(self, plugin: str, *, enabled: bool) -> Declaration:
        """Return the same declaration with a plugin turned on or off.

        :param plugin: The id of the plugin.
        """
        return load(self.text, self.name, {**self.switches, plugin: enabled})


@dataclass(frozen=True)
class _PlacedRoute:
    place: Place
    row: RouteRow
    service_place: Place = ()
    service: ServiceRow | None = None


@dataclass(frozen=True)
class _PlacedPlugin:
    plugin: DeclaredPlugin
    enabled: bool
    route: RouteRow | None = None
    service: ServiceRow | None = None


def load(
    text: str, name: str = "kong.yml", switches: Mapping[str, bool] | None = None
) -> Declaration:
    """Read a declarative configuration.

    :param name: The name of the file in errors.
    :param switches: Whether plugins are enabled, by their ids, which overrides the file.
    :raises DeclarationError: When it cannot be used. The text has the line and the place.
    """
    document = Document(text, name)
    try:
        file = File.model_validate(document.tree)
    except ValidationError as error:
        raise document.error(*_complaint(error.errors(include_url=False)[0])) from None
    placed = _placed_routes(document, file)
    plugins = list(_plugins(document, file, placed, switches or {}))
    return Declaration(
        routes=list(_routes(placed, plugins)),
        declared=_declared(file, placed),
        consumers=list(_consumers(document, file)),
        plugins=[_entity(each, placed) for each in plugins],
        text=text,
        name=name,
        switches=dict(switches or {}),
    )


def _complaint(problem: ErrorDetails) -> tuple[Place, str]:
    # A reference is a union, and pydantic adds the branch that it tried to the place.
    place = tuple(part for part in problem["loc"] if part not in ("str", "Foreign"))
    if problem["type"] != _UNKNOWN_FIELD:
        return place, problem["msg"].removeprefix("Value error, ")
    if len(place) == 1:
        known = sorted(set(File.model_fields) - {"format_version", "transform", "comment", "info"})
        return place, f"this sandbox has no {place[0]}, only {', '.join(known)}"
    return place, f"{place[-1]}: unknown field, or one that this sandbox does not have"


def _identifier(kind: str, row: DeclaredRow, *names: object) -> str:
    return row.id or str(uuid.uuid5(_NAMESPACE, ":".join([kind, *map(str, names)])))


def _names(reference: Reference, row: ServiceRow | RouteRow) -> bool:
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


def _placed_routes(document: Document, file: File) -> list[_PlacedRoute]:
    placed: list[_PlacedRoute] = []
    for index, service in enumerate(file.services):
        place: Place = ("services", index)
        for below, route in enumerate(service.routes):
            placed.append(_PlacedRoute((*place, "routes", below), route, place, service))
    for index, route in enumerate(file.routes):
        place = ("routes", index)
        owners = (
            _PlacedRoute(place, route, ("services", position), service)
            for position, service in enumerate(file.services)
            if _names(route.service, service)
        )
        owner = next(owners, None)
        if route.service is not None and owner is None:
            raise document.error((*place, "service"), "there is no such service")
        placed.append(owner or _PlacedRoute(place, route))
    return placed


def _routes(placed: Sequence[_PlacedRoute], plugins: Sequence[_PlacedPlugin]) -> Iterator[Route]:
    for found in placed:
        row, service_row = found.row, found.service
        yield Route(
            id=_identifier("routes", row, row.name or found.place),
            name=row.name,
            paths=tuple(row.paths or ()),
            hosts=tuple(row.hosts or ()),
            methods=tuple(row.methods or ()),
            protocols=tuple(row.protocols),
            strip_path=row.strip_path,
            preserve_host=row.preserve_host,
            service=_service(service_row, found.service_place)
            if service_row and service_row.enabled
            else None,
            plugins=_plugins_of(found, plugins),
            hides_identity=next(
                (
                    config
                    for each in plugins
                    if each.enabled and each.route is None and each.service is None
                    if isinstance(config := each.plugin.config, BridgeConfig)
                    and config.hides_headers
                ),
                None,
            ),
        )


def _entity(placed: _PlacedPlugin, routes: Sequence[_PlacedRoute]) -> PluginEntity:
    route = next((each for each in routes if each.row is placed.route), None)
    of_service = next((each for each in routes if each.service is placed.service), None)
    return PluginEntity(
        id=placed.plugin.id,
        name=placed.plugin.name,
        enabled=placed.enabled,
        route={"id": _identifier("routes", route.row, route.row.name or route.place)}
        if placed.route and route
        else None,
        service={"id": _service(placed.service, of_service.service_place if of_service else ()).id}
        if placed.service
        else None,
        config=placed.plugin.config
        if isinstance(placed.plugin.config, dict)
        else placed.plugin.config.model_dump(),
    )


def _declared(file: File, routes: Sequence[_PlacedRoute]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of services and routes, without absent fields."""
    rows: dict[str, list[dict[str, Any]]] = {"services": [], "routes": []}
    for index, service in enumerate(file.services):
        found = _service(service, ("services", index)).model_dump(include={"id", "name"})
        rows["services"].append({**found, "enabled": service.enabled})
    for each in routes:
        owner = each.service and {"id": _service(each.service, each.service_place).id}
        rows["routes"].append(
            {
                "id": _identifier("routes", each.row, each.row.name or each.place),
                "name": each.row.name,
                "protocols": each.row.protocols,
                "service": owner,
            }
        )
    return {
        kind: [{name: value for name, value in row.items() if value is not None} for row in found]
        for kind, found in rows.items()
    }


def _plugins(
    document: Document,
    file: File,
    routes: Sequence[_PlacedRoute],
    switches: Mapping[str, bool],
) -> Iterator[_PlacedPlugin]:
    """Yield every plugin, with its route or service and whether it is enabled.

    :raises DeclarationError: When a configuration is wrong, also that of a plugin without a route.
    """

    def enabled(plugin: DeclaredPlugin, row: PluginRow) -> bool:
        return switches.get(plugin.id, row.enabled)

    for found in routes:
        for index, row in enumerate(found.row.plugins):
            plugin = _plugin(document, (*found.place, "plugins", index), row)
            yield _PlacedPlugin(plugin, enabled(plugin, row), route=found.row)
    for position, service in enumerate(file.services):
        for index, row in enumerate(service.plugins):
            plugin = _plugin(document, ("services", position, "plugins", index), row)
            yield _PlacedPlugin(plugin, enabled(plugin, row), service=service)
    for index, row in enumerate(file.plugins):
        place: Place = ("plugins", index)
        route = next((each.row for each in routes if _names(row.route, each.row)), None)
        owner = next((each for each in file.services if _names(row.service, each)), None)
        for kind, reference, named in (
            ("route", row.route, route),
            ("service", row.service, owner),
        ):
            if reference is not None and named is None:
                raise document.error((*place, kind), f"there is no such {kind}")
        plugin = _plugin(document, place, row)
        yield _PlacedPlugin(plugin, enabled(plugin, row), route, owner)


def _plugin(document: Document, place: Place, row: PluginRow) -> DeclaredPlugin:
    if row.name not in PLUGINS:
        raise document.error(
            (*place, "name"),
            f"this sandbox has no plugin {row.name!r}, only {', '.join(sorted(PLUGINS))}",
        )
    try:
        identifier = _identifier("plugins", row, row.instance_name or place)
        return make(row.name, identifier, row.config or {})
    except PluginConfigError as error:
        raise document.error((*place, "config", *error.place), error.message) from None


def _plugins_of(
    route: _PlacedRoute, plugins: Sequence[_PlacedPlugin]
) -> tuple[DeclaredPlugin, ...]:
    """Return the plugins of a route. One of the route replaces one of its service or a global."""
    candidates = [
        candidate
        for candidate in plugins
        if candidate.enabled
        and (candidate.route is None or candidate.route is route.row)
        and (candidate.service is None or candidate.service is route.service)
    ]
    candidates.sort(key=lambda each: (each.route is None, each.service is None))
    chosen: dict[str, DeclaredPlugin] = {}
    for candidate in candidates:
        chosen.setdefault(candidate.plugin.name, candidate.plugin)
    return tuple(sorted(chosen.values(), key=lambda plugin: -plugin.priority))


def _consumers(document: Document, file: File) -> Iterator[ConsumerRow]:
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
