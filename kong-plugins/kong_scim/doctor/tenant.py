"""Judges the tenant: its tokens, deliveries, quarantine, drift, and the provider's requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from kong_scim.auth.scopes import PROVISIONING
from kong_scim.doctor.gateway import Facts, moment
from kong_scim.doctor.report import Report
from kong_scim.doctor.route import SOON, USER_AGENT, NoAnswerError, Route, judge
from kong_scim.doctor.symptoms import symptom_of
from kong_scim.provider_log.senders import PROVIDERS

SILENCE = timedelta(days=1)
"""How long a provider may send nothing. Entra's cycles take 40 minutes, and full syncs a day."""

MANY = 1000
"""Deliveries that wait, from which on there is a warning."""

WRITERS = frozenset({"scim:users", "scim:groups"})
"""The scopes without which nobody can be provisioned."""

OF_FACTS = frozenset({"expiry", "last-request", "deliveries"})
"""The checks that need ``GET /Doctor``."""

NEEDS_ADMIN = "this needs a token with the scope scim:admin"


def check_scopes_by_trying(route: Route, report: Report) -> None:
    """Find out what a token without ``scim:admin`` may do, by changes of what is not there."""
    operation = {"op": "replace", "path": "displayName", "value": "x"}
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [operation],
    }
    lacking = set()
    for endpoint in ("Users", "Groups"):
        answer = route.send("PATCH", f"/{endpoint}/nobody-of-kong-scim-doctor", body)
        if answer.status == 403:
            lacking.add(f"scim:{endpoint.lower()}")
    if lacking:
        report.fail(
            "scopes",
            f"The token may not write: it lacks {' and '.join(sorted(lacking))}",
            "if a provider shall use it, leave its `scopes` out of config.tokens, which gives it "
            "all that a provider needs (docs/security.md#scopes)",
        )
    else:
        report.ok("scopes", "the token may write users and groups")


def check_tenant(facts: Facts, report: Report, now: datetime) -> None:
    """Judge what ``GET /Doctor`` tells of the tenant."""
    _tokens(facts, report, now)
    _deliveries(facts["deliveries"], report)


def _tokens(facts: Facts, report: Report, now: datetime) -> None:
    """Judge scopes, expiry and last use of the tokens in the configuration."""
    tokens, caller = facts["tokens"], facts["caller"]
    report.ok("token", f"it is the token {caller['token']} of tenant {facts['tenant']}")
    if isinstance(tokens, dict):
        report.fail("database", f"The tenant cannot be read: {tokens['error']}", _advice(tokens))
        return
    configured = [each for each in tokens if "expires" in each]
    rights = {each["name"]: frozenset(each["scopes"]) or PROVISIONING for each in configured}
    writers = [name for name, scopes in rights.items() if _may_write(scopes)]
    if facts["auth"] == "kong" or not configured:
        report.ok("scopes", "consumers of Kong, or an issuer's JWTs, are the callers")
    elif not writers:
        report.fail(
            "scopes",
            "No token may write users and groups, so no provider can use one",
            "leave the `scopes` of the provider's token out of config.tokens, which gives it all "
            "that a provider needs (docs/security.md#scopes)",
        )
    elif all("scim:admin" in rights[name] for name in writers):
        report.warn(
            "scopes",
            f"The provider's token has the scope scim:admin ({', '.join(writers)})",
            "give the administrator a token of its own, and leave the `scopes` of the provider's "
            "out",
        )
    else:
        report.ok("scopes", f"{', '.join(writers)} may write users and groups")
    _expiry(configured, report, now)
    used = [each["lastUsed"] for each in tokens if each["name"] != caller["token"]]
    _last_request([moment(each) for each in used if each], report, now)


def _may_write(scopes: frozenset[str]) -> bool:
    return "scim:admin" in scopes or scopes >= WRITERS


def _expiry(tokens: Sequence[Facts], report: Report, now: datetime) -> None:
    mend = "make a new one: docs/operations.md#rotate-the-token"
    for each in tokens:
        ends = moment(each["expires"]) if each["expires"] else None
        if ends is not None and ends <= now:
            found = f"The token {each['name']} expired at {each['expires']}"
            report.fail("expiry", found, f"{mend}; or take its entry out")
        elif ends is not None and ends - now < SOON:
            report.warn("expiry", f"The token {each['name']} expires at {each['expires']}", mend)
    report.ok("expiry", "no token expires within 14 days")


def _last_request(used: Sequence[datetime], report: Report, now: datetime) -> None:
    if not used:
        report.skip("last-request", "nobody has used another token than this one yet")
        return
    age = now - max(used)
    if age > SILENCE:
        report.warn(
            "last-request",
            f"No provider has sent a request for {age.days} days and {age.seconds // 3600} hours",
            "look into the provider's provisioning log: is it paused, or does it quarantine this "
            "application?",
        )
    else:
        report.ok("last-request", f"the last one came {int(age.total_seconds()) // 60} minutes ago")


def _deliveries(counts: Facts, report: Report) -> None:
    if "error" in counts:
        report.fail("database", f"The tenant cannot be read: {counts['error']}", _advice(counts))
        return
    if counts["dead"]:
        report.fail(
            "deliveries",
            f"{counts['dead']} deliveries to webhooks were given up",
            "see why with `kong-scim deliveries --failed`, mend the receiver, then `kong-scim "
            "deliveries replay --all-failed`",
        )
    if counts["pending"] >= MANY:
        report.warn(
            "deliveries",
            f"{counts['pending']} deliveries wait for their receivers",
            "see which with `kong-scim deliveries`: does a receiver answer slowly, or not at all?",
        )
    report.ok("deliveries", f"{counts['pending']} wait, none was given up")


def check_endpoints(route: Route, report: Report) -> None:
    """Look at the quarantine, drift and failed requests, by their endpoints."""
    for check, path, judged in (
        ("quarantine", "/Quarantine", _quarantine),
        ("drift", "/Overview", _drift),
        ("requests", "/Requests?failed=true&count=100", _requests),
    ):
        _endpoint(route, report, check, path, judged)


def _endpoint(
    route: Route, report: Report, check: str, path: str, judged: Callable[[Facts, Report], None]
) -> None:
    try:
        answer = route.send("GET", path)
    except NoAnswerError as error:
        report.skip(check, str(error))
        return
    if answer.status == 404:
        report.skip(check, f"this gateway has no {path.partition('?')[0]}")
    elif answer.status == 403:
        report.skip(check, NEEDS_ADMIN)
    elif answer.status != 200:
        judge(answer, report, check=check, what=f"GET {path}")
    else:
        try:
            judged(answer.body, report)
        except (KeyError, TypeError, ValueError, AttributeError):
            report.skip(check, f"the answer of GET {path} is not understood")


def _quarantine(status: Facts, report: Report) -> None:
    state = status.get("state")
    if state in {"quarantined", "rejected"}:
        report.fail(
            "quarantine",
            f"The tenant is {state}: nobody is deactivated or deleted, and "
            f"{status.get('heldTotal', 0)} users are held back",
            "see who with `kong-scim quarantine show`, then decide: "
            "docs/safety.md#decide-about-a-quarantine",
        )
    elif state == "approved":
        report.warn(
            "quarantine",
            f"Everything goes through until {status.get('until')}",
            "end that with `kong-scim quarantine lift` when the provider is done",
        )
    else:
        report.ok("quarantine", "nobody is held back")


def _drift(overview: Facts, report: Report) -> None:
    """Judge what the last pass over all users found: ``GET /Drift`` looks at some of them only."""
    known = overview["drift"]
    if known is None:
        report.skip("drift", "no pass over all users has ended yet: `kong-scim drift` looks now")
    elif total := known["total"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in known["byKind"].items())
        report.warn(
            "drift",
            f"Kong differs from what the provider said in {total} places: {kinds}",
            "see where with `kong-scim drift`, and mend it with `kong-scim reconcile`",
        )
    else:
        report.ok("drift", "Kong has what the provider said")


def _requests(found: Facts, report: Report) -> None:
    """Count the failed requests by symptom.

    Those of the doctor itself are left out, and those that were not let in and name no provider: a
    health check or a scanner may send them.
    """
    seen: dict[tuple[str, str], int] = {}
    for each in found.get("requests") or []:
        provider = each.get("provider")
        if provider == USER_AGENT or not (each.get("token") or provider in PROVIDERS):
            continue
        sentence = str(each.get("error") or "")
        symptom = symptom_of(each.get("status"), sentence)
        path = re.sub(r"/[^/]{20,}", "/...", str(each.get("path", "")))
        what = f"{each.get('method')} {path} {each.get('status')}: {sentence}"
        key = (
            (symptom.symptom, symptom.advice) if symptom else (what, "its text says what to change")
        )
        seen[key] = seen.get(key, 0) + 1
    for (what, advice), count in seen.items():
        report.warn("requests", f"{count} of the provider's last requests failed: {what}", advice)
    report.ok("requests", "none of the last ones failed")


def _advice(error: Facts) -> str:
    symptom = symptom_of(503, str(error["error"]))
    return symptom.advice if symptom else "read Kong's error log and the plugin server's log"
