"""Writes the lines of an access review: who reaches which route, by which group, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kong_scim.bridge import Credential
from kong_scim.review.configuration import AnonymousConsumer, KongConfiguration, Route
from kong_scim.review.history import Change
from kong_scim.review.judgement import Person, RouteRule, rule_of
from kong_scim.review.people import PersonThen

Json = dict[str, Any]


@dataclass(frozen=True)
class Filter:
    """What a review is about; None for everything.

    :param user: A userName, or the id of a user.
    :param group: An ACL group by which a route is reached.
    :param service: The name of a service, or its id.
    :param refused: Whether there is also a line for each route that a person does not reach.
    """

    user: str | None = None
    group: str | None = None
    service: str | None = None
    refused: bool = False

    def to_json(self) -> Json:
        """Return the filter without what it does not restrict."""
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class JudgedRoute:
    """A route, the name of its service, and who may pass."""

    route: Route
    service: str | None
    rule: RouteRule


def judged_routes(
    configuration: KongConfiguration,
    anonymous: Mapping[str, AnonymousConsumer],
    service: str | None = None,
) -> list[JudgedRoute]:
    """Return the routes in the order of their names.

    :param service: The name or the id of a service, for only its routes.
    """
    found = []
    for route in configuration.routes:
        owner = configuration.by_id.get(route.service or "")
        if service is None or (owner is not None and service in {owner.name, owner.id}):
            rule = rule_of(configuration, route, anonymous)
            found.append(JudgedRoute(route, owner.name if owner else None, rule))
    return sorted(found, key=lambda each: (each.service or "", each.route.name, each.route.id))


def not_judged(routes: Iterable[JudgedRoute]) -> list[Json]:
    """Return a line for each route that is not judged, and for what else may decide on one."""
    return [
        {"service": each.service, "route": each.route.name, "reason": reason, "partly": partly}
        for each in routes
        for reasons, partly in (
            ([each.rule.not_judged] if each.rule.not_judged else [], False),
            (each.rule.remarks, True),
        )
        for reason in reasons
    ]


def lines_of(person: PersonThen, routes: Iterable[JudgedRoute], only: Filter) -> list[Json]:
    """Return the lines of one person.

    There is one for each ACL group by which the person may reach a route, also if the person is
    suspended or has no credential, which its ``status`` says.
    """
    access = person.access
    held = frozenset(each.kind for each in person.credentials) | frozenset(access.lost)
    judged = Person(access.consumer, access.groups, access.suspended, held)
    credentials = [each.to_json() for each in sorted(person.credentials, key=_order)]
    credentials += [
        {"kind": kind, "id": None, "created": None, "expires": None, "revoked": shown(at)}
        for kind, at in sorted(access.lost.items())
    ]
    lines = []
    for each in routes:
        if each.rule.not_judged is not None:
            continue
        verdict = each.rule.judge(judged)
        by: tuple[str | None, ...] = verdict.by
        if access.consumer is None:
            by = ()
        granted = tuple(group for group in by if only.group in {None, group})
        if not granted and (not only.refused or by):
            continue
        for group in granted or (None,):
            event = (access.since.get(group) if group else access.admitted) if granted else None
            lines.append(
                {
                    "user": person.id,
                    "userName": person.user_name,
                    "consumer": access.consumer,
                    "suspended": access.suspended,
                    "service": each.service,
                    "route": each.route.name,
                    "status": verdict.status,
                    "by": group,
                    "since": event and shown(event.occurred),
                    "grantedBy": event and _origin(event),
                    "credentials": credentials,
                }
            )
    return lines


def shown(instant: str) -> str:
    """Return a moment as a report shows it (RFC 3339)."""
    return instant.replace("+00:00", "Z")


def _origin(event: Change) -> Json:
    return {"event": event.event, "actor": event.actor, "request": event.request}


def _order(credential: Credential) -> tuple[str, str]:
    return credential.kind, credential.id
