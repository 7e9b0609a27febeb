"""Kong's routes, services and plugins, and which plugin takes effect where."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kong_scim.json_text import canonical

Row = Mapping[str, Any]

_Place = tuple[str, str | None, str | None, str | None]
"""The name of a plugin, and the ids of its route, service and consumer, or None."""


@dataclass(frozen=True)
class Route:
    """A route of Kong.

    :param service: The id of its service, or None.
    """

    id: str
    name: str
    service: str | None
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    """A service of Kong."""

    id: str
    name: str
    enabled: bool = True


@dataclass(frozen=True)
class Plugin:
    """An enabled plugin, which is for a route, a service or a consumer, or for all that are None.

    :param group: The id of the consumer group of Kong Enterprise that it is for, or None.
    :param config: The fields that say who may pass.
    """

    name: str
    route: str | None = None
    service: str | None = None
    consumer: str | None = None
    group: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AnonymousConsumer:
    """The consumer that a plugin of authentication names as ``anonymous``, with its ACL groups."""

    name: str
    groups: frozenset[str]


@dataclass(frozen=True)
class KongConfiguration:
    """The routes of a workspace, with what decides who passes there."""

    services: tuple[Service, ...]
    routes: tuple[Route, ...]
    plugins: tuple[Plugin, ...]

    @classmethod
    def read(
        cls, services: Sequence[Row], routes: Sequence[Row], plugins: Sequence[Row]
    ) -> KongConfiguration:
        """Return the configuration of rows as :meth:`.Bridge.declared` yields them."""
        return cls(
            services=tuple(
                Service(row["id"], row.get("name") or row["id"], row["enabled"])
                for row in sorted(services, key=_id)
            ),
            routes=tuple(
                Route(
                    id=row["id"],
                    name=row.get("name") or row["id"],
                    service=row.get("service"),
                    protocols=tuple(sorted(row.get("protocols") or ())),
                )
                for row in sorted(routes, key=_id)
            ),
            plugins=tuple(
                Plugin(
                    name=row["name"],
                    route=row.get("route"),
                    service=row.get("service"),
                    consumer=row.get("consumer"),
                    group=row.get("consumer_group"),
                    config=dict(row.get("config") or {}),
                )
                for row in sorted(plugins, key=_id)
                if row["enabled"]
            ),
        )

    def digest(self, anonymous: Mapping[str, AnonymousConsumer]) -> str:
        """Return SHA-256 of the canonical JSON of everything that decides who passes.

        :param anonymous: The consumers that plugins name as ``anonymous``, by that name or id.
        """
        parts: list[Any] = [
            [vars(each) for each in group] for group in (self.services, self.routes, self.plugins)
        ]
        parts.append({name: sorted(each.groups) for name, each in anonymous.items()})
        return hashlib.sha256(canonical(parts)).hexdigest()

    @cached_property
    def by_id(self) -> Mapping[str, Service]:
        """The services by their ids."""
        return {service.id: service for service in self.services}

    @cached_property
    def acl_groups(self) -> frozenset[str]:
        """The ACL groups that the acl plugins allow or deny."""
        return frozenset(
            group
            for plugin in self.plugins
            if plugin.name == "acl"
            for kind in ("allow", "deny")
            for group in plugin.config.get(kind) or ()
        )

    def names_on(self, route: Route) -> list[str]:
        """Return the names of the plugins that run on a route, for whichever consumer."""
        return sorted({plugin.name for plugin in self._on(route)})

    def consumers_of(self, name: str) -> frozenset[str]:
        """Return the ids of consumers that have a plugin of their own."""
        return self._consumers.get(name, frozenset())

    def grouped_on(self, name: str, route: Route) -> bool:
        """Tell whether a plugin on a route is for a consumer group of Kong Enterprise."""
        return any(plugin.name == name and plugin.group for plugin in self._on(route))

    def plugin(self, name: str, route: Route, consumer: str | None = None) -> Plugin | None:
        """Return the plugin of a name that takes effect on a route for a consumer, or None.

        The order is that of Kong's ``runloop/plugins_iterator.lua``.
        """
        for place in _places(name, route.id, route.service, consumer):
            if place in self._by_place:
                return self._by_place[place]
        return None

    @cached_property
    def _by_place(self) -> Mapping[_Place, Plugin]:
        return {
            (each.name, each.route, each.service, each.consumer): each
            for each in self.plugins
            if each.group is None
        }

    @cached_property
    def _consumers(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for each in self.plugins:
            if each.consumer is not None:
                found[each.name] = found.get(each.name, frozenset()) | {each.consumer}
        return found

    @cached_property
    def _by_scope(self) -> Mapping[tuple[str | None, str | None], list[Plugin]]:
        found: dict[tuple[str | None, str | None], list[Plugin]] = {}
        for each in self.plugins:
            found.setdefault((each.route, each.service), []).append(each)
        return found

    def _on(self, route: Route) -> Iterator[Plugin]:
        scopes = {(id_, service) for id_ in (route.id, None) for service in (route.service, None)}
        for scope in scopes:
            yield from self._by_scope.get(scope, ())


def _id(row: Row) -> str:
    return str(row["id"])


def _places(name: str, route: str, service: str | None, consumer: str | None) -> Iterator[_Place]:
    """Yield where a plugin may be, the place that wins first."""
    if consumer is not None:
        if service is not None:
            yield name, route, service, consumer
        yield name, route, None, consumer
        if service is not None:
            yield name, None, service, consumer
    if service is not None:
        yield name, route, service, None
    if consumer is not None:
        yield name, None, None, consumer
    yield name, route, None, None
    if service is not None:
        yield name, None, service, None
    yield name, None, None, None
