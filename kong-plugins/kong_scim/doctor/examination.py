"""Looks at everything that it is given, from the network to the provider's first requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx

from kong_scim.directory.values import utc_now
from kong_scim.doctor import gateway, tenant
from kong_scim.doctor.admin import look_at_admin_api
from kong_scim.doctor.declared import look_at_file
from kong_scim.doctor.gateway import Facts
from kong_scim.doctor.machine import look_at_log, look_at_socket
from kong_scim.doctor.providers import Step, play
from kong_scim.doctor.report import CHECKS, Report, State
from kong_scim.doctor.route import NoAnswerError, Route, judge, look_at_network

_OF_ROUTE = frozenset(CHECKS) - {
    *("address", "tls", "admin-api", "socket", "logs", "plugins", "routes", "provider"),
}
"""The checks that need an answer of the route."""

_GIVEN_BY = {
    "socket": "--socket",
    "plugins": "--admin-url",
    "routes": "--admin-url",
    "admin-api": "--admin-url",
    "logs": "--log",
    "provider": "--provider",
    "configuration": "--admin-url or --config",
}
"""The option without which a check is not made."""


@dataclass(frozen=True)
class Subject:
    """What is to be examined. What is None is not looked at.

    :param url: The SCIM base URL.
    :param insecure: Whether to take any certificate.
    :param transport: Sends the requests to the route; None for the network.
    :param now: Tells the time of this machine.
    """

    url: str | None = None
    token: str | None = None
    admin_url: str | None = None
    config: Path | None = None
    socket: Path | None = None
    logs: Sequence[Path] = ()
    provider: str | None = None
    insecure: bool = False
    transport: httpx.BaseTransport | None = None
    now: Callable[[], datetime] = utc_now


def examine(subject: Subject) -> tuple[Report, list[Step]]:
    """Return what was found, and the steps of the provider that were played."""
    report = Report()
    steps: list[Step] = []
    answered = False
    if subject.url is not None:
        answered, steps = _route(subject, subject.url, report)
    if subject.admin_url is not None:
        answered = look_at_admin_api(subject.admin_url, report) or answered
    if subject.config is not None:
        look_at_file(subject.config, report)
        answered = True
    if subject.socket is not None:
        look_at_socket(subject.socket, report)
        answered = True
    for log in subject.logs:
        look_at_log(log, report)
        answered = True
    report.unreachable = not answered
    for check in CHECKS:
        if report.state(check) is None:
            needed = _GIVEN_BY.get(check, "--url and --token")
            report.skip(check, f"give {needed} to have it checked")
    return report, steps


def _route(subject: Subject, url: str, report: Report) -> tuple[bool, list[Step]]:
    """Look at the SCIM route. Return whether anything answered, and the steps played."""
    parsed = httpx.URL(url)
    insecure = subject.insecure
    if subject.transport is None and not look_at_network(
        parsed, report, subject.now(), insecure=insecure
    ):
        report.skip_all(_OF_ROUTE, "the gateway cannot be reached over this URL")
        return report.state("address") is not State.FAILED, []
    route = Route(url, subject.token, subject.transport, subject.now, insecure=insecure)
    try:
        facts = _answers(route, parsed, subject, report)
    except NoAnswerError as error:
        report.fail(
            "route",
            f"{url} does not answer: {error}",
            "read Kong's error log: does it run, and does its database answer?",
        )
        facts = None
    if facts is None:
        why = "the answers of the route do not tell it"
        report.skip_all(_OF_ROUTE, why)
        if subject.provider is not None:
            report.skip("provider", "the gateway must answer GET /Doctor first")
        return True, []
    if subject.provider is None:
        return True, []
    try:
        return True, play(subject.provider, route, facts, report)
    except NoAnswerError as error:
        report.fail("provider", f"The play ended early: {error}", "read Kong's error log")
        return True, []


def _answers(route: Route, url: httpx.URL, subject: Subject, report: Report) -> Facts | None:
    """Judge the answers of the route. Return those of ``GET /Doctor``, or None."""
    config = route.send("GET", "/ServiceProviderConfig")
    if config.status != 200 or not config.is_scim:
        judge(config, report, what="GET /ServiceProviderConfig")
        if config.is_scim:
            report.ok("route", "a SCIM endpoint answers")
        gateway.check_clock(config, None, report)
        return None
    report.ok("route", "a SCIM endpoint answers")
    report.ok("plugin-server", "it answers")
    report.ok("front", "requests get to the plugin")
    report.ok("token", "it is accepted")
    gateway.check_base_url(config, route.url, report)
    users = route.send("GET", "/Users?count=1")
    if users.status == 200:
        report.ok("database", "it answers")
        report.ok("store", "it can be read")
    elif users.status != 403:
        judge(users, report, check="database", what="GET /Users")
    answer = route.send("GET", "/Doctor")
    if answer.status != 200:
        if answer.status == 403:
            why = tenant.NEEDS_ADMIN
            tenant.check_scopes_by_trying(route, report)
        elif answer.status == 404:
            why = "this gateway has no /Doctor: it is of an older release"
        else:
            why = "GET /Doctor fails"
            judge(answer, report, check="plugin-server", what="GET /Doctor")
        report.skip_all(gateway.OF_FACTS | tenant.OF_FACTS, why)
        gateway.check_clock(config, None, report)
        tenant.check_endpoints(route, report)
        return None
    facts = answer.body
    try:
        gateway.check_clock(answer, facts, report)
        gateway.check_facts(facts, url, report)
        tenant.check_tenant(facts, report, subject.now())
    except (KeyError, TypeError, ValueError, AttributeError):
        report.fail(
            "versions",
            "GET /Doctor answers what this kong-scim does not understand",
            "use the command line of the gateway's release",
        )
        return None
    tenant.check_endpoints(route, report)
    report.ok("configuration", "the gateway runs with it")
    return facts
