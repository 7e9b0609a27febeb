"""``kong-scim audit`` shows who changed what and when, and verifies that nothing is missing."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import click

from kong_scim.cli.client import Client, gateway_options
from kong_scim.cli.printing import failure, say, say_json
from kong_scim.cli.timeline import Requests, timeline
from kong_scim.events.hash_chain import Chain, verify

_AGE = re.compile(r"^(\d+)([smhd])$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

_ENDS = frozenset({"create", "delete"})

INTERVAL = 1.0
"""Seconds between two looks with ``--follow``."""


class _Since(click.ParamType[datetime]):
    name = "since"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        age = _AGE.match(value)
        if age:
            return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date such as 2026-03-01 and no age such as 7d", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.group(invoke_without_command=True)
@gateway_options
@click.option("--user", metavar="NAME", help="Only what concerns this user: a userName, or an id.")
@click.option(
    "--since", type=_Since(), metavar="WHEN", help="From a date, or an age such as 2h or 7d."
)
@click.option("--follow", is_flag=True, help="Go on, and show what happens.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option(
    "--access",
    type=click.File(encoding="utf-8", errors="replace"),
    metavar="FILE|-",
    help="With --user: JSON lines of Kong's file-log or http-log, put between the events.",
)
@click.pass_context
def audit(  # noqa: PLR0917 - one parameter per option
    context: click.Context,
    scim_url: str | None,
    token: str | None,
    user: str | None,
    since: datetime | None,
    follow: bool,
    as_json: bool,
    access: TextIO | None,
) -> None:
    """Show the audit trail: every change, and what came of it."""
    context.obj = (scim_url, token)
    if context.invoked_subcommand is not None:
        return
    client = Client(scim_url, token)
    if access is not None:
        if user is None or follow or as_json:
            raise click.UsageError("--access goes with --user, without --follow and --json")
        for text in user_timeline(client, client.user_id(user), access, since):
            say(text)
        return
    who = client.user_id(user) if user else None
    # Ctrl-C is how one stops to follow.
    with contextlib.suppress(*[KeyboardInterrupt] if follow else []):
        for event in _chosen(client, who, since, follow=follow):
            if as_json:
                say_json(event)
            else:
                say(line(event))
            sys.stdout.flush()


class _Known(click.ParamType[tuple[int, str]]):
    name = "known"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, str]:
        found = re.fullmatch(r"(\d{1,15}):([0-9a-f]{64})", value)
        if found is None:
            self.fail(f"{value!r} is no sequence and hash such as 57:9c1f...", param, ctx)
        return int(found[1]), found[2]


@audit.command("verify")
@click.option(
    "--known",
    type=_Known(),
    multiple=True,
    metavar="SEQUENCE:HASH",
    help="A record as it was seen before: the end that this printed, or that of a webhook.",
)
@click.pass_context
def audit_verify(context: click.Context, known: tuple[tuple[int, str], ...]) -> None:
    """Check that no record of the trail was altered, inserted or removed."""
    client = Client(*context.obj)
    chain = Chain.read(client.get("/Events/chain"))
    late: list[dict[str, Any]] = []
    seen: dict[int, str] = {chain.first - 1: chain.first_hash}
    wanted = {sequence for sequence, _ in known}
    problem = verify(_noting(_up_to(chain, client.events(), late), wanted, seen), chain)
    if problem is None and late:
        # Sealed while this was reading, unless the chain does not know them now.
        end = Chain.read(client.get("/Events/chain")).length
        unknown = [event for event in late if event["sequence"] > end]
        if unknown:
            problem = f"sequence {unknown[0]['sequence']}: inserted (event {unknown[0]['id']})"
    for sequence, digest in known if problem is None else ():
        if sequence < chain.first - 1:
            say(f"sequence {sequence} passed its age and is not compared", err=True)
        elif seen.get(sequence) != digest:
            problem = f"sequence {sequence} or before it: it was {digest}, and is not"
    if problem is not None:
        raise failure(f"the audit trail was tampered with at {problem}")
    say(f"ok: {chain.length - chain.first + 1} events, up to {chain.length} {chain.hash}")


def user_timeline(
    client: Client, user_id: str, log: Iterable[str], since: datetime | None = None
) -> Iterator[str]:
    """Yield a user's events, and between them what its credentials were used for, as text."""
    for entry in timeline(_chosen(client, user_id, since, follow=False), log, user_id):
        yield entry.line() if isinstance(entry, Requests) else short(entry, user_id)


def short(event: Mapping[str, Any], user_id: str) -> str:
    """Return what an event was to one user as a line of text."""
    changes: list[str] = []
    if event["resourceId"] == user_id:
        actions = [each for each in event.get("actions", []) if each != "credentials-revoke"]
        changes += [event["operation"]] if event["operation"] in _ENDS else []
        changes += actions
        changes += [
            f"revoked {each['count']} {each['kind']}" for each in event.get("credentials", [])
        ]
        changes = changes or [event["operation"]]
    else:
        changes += ["joined a group"] if user_id in event.get("joined", []) else []
        changes += ["left a group"] if user_id in event.get("left", []) else []
        changes = changes or [f"{event['operation']} of a group"]
    parts = [", ".join(changes)]
    for user in event.get("users", []):
        if user["value"] == user_id:
            parts += [f"+{group}" for group in user.get("added", [])]
            parts += [f"-{group}" for group in user.get("removed", [])]
            parts += ["suspended"] if user.get("suspended") else []
    origin = [f"by {event['actor']}"] if "actor" in event else []
    origin += [f"request {event['requestId']}"] if "requestId" in event else []
    said = "  ".join([" ".join(parts), ", ".join(origin)]).rstrip()
    return f"{_moment(event['occurred'])}  #{event['sequence']:<5} {said}"


def line(event: Mapping[str, Any]) -> str:
    """Return an event as a line of text."""
    parts = [
        f"{_moment(event['occurred'])}  #{event['sequence']:<5}",
        f"{event['operation']:<7} {event['resourceType']} {event['resourceId']}",
        " ".join(event.get("actions", [])),
        event.get("detail", ""),
    ]
    if event.get("dryRun"):
        parts.insert(1, "dry run:")
    if event.get("attributes"):
        parts.append("changed " + ", ".join(event["attributes"]))
    for user in event.get("users", []):
        changes = [f"+{group}" for group in user.get("added", [])]
        changes += [f"-{group}" for group in user.get("removed", [])]
        changes += ["suspended"] if user.get("suspended") else []
        if changes:
            parts.append(f"user {user['value']}: {' '.join(changes)}")
    if event["operation"] == "credential-add":
        parts += [f"gave {each['count']} {each['kind']}" for each in event.get("entities", [])]
    for credential in event.get("credentials", []):
        parts.append(f"revoked {credential['count']} {credential['kind']}")
    if event["operation"] == "expiry-warning":
        parts.append(f"expires at {event['values'][0]['value']}")
    by = f"by {event['actor']}"
    if "requestId" in event:  # else of the plugin's own accord
        by += f" from {event['address']}, request {event['requestId']}"
    parts.append(by)
    return "  ".join(part for part in parts if part)


def concerning(user_id: str) -> str:
    """Return the filter of what concerns a user."""
    of = json.dumps(user_id)
    return " or ".join(
        f"{name} eq {of}" for name in ("resourceId", "users.value", "joined", "left")
    )


def _chosen(
    client: Client, user_id: str | None, since: datetime | None, *, follow: bool
) -> Iterator[dict[str, Any]]:
    conditions = [f"({concerning(user_id)})"] if user_id else []
    if since is not None:
        conditions.append(f'occurred ge "{since.isoformat()}"')
    last = 0
    while True:
        newer = [f"sequence gt {last}"] if last else []
        for event in client.events(" and ".join([*conditions, *newer]) or None):
            last = event["sequence"]
            yield event
        if not follow:
            return
        time.sleep(INTERVAL)


def _up_to(
    chain: Chain, events: Iterator[dict[str, Any]], late: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for event in events:
        if isinstance(event.get("sequence"), int) and event["sequence"] > chain.length:
            late.append(event)
        else:
            yield event


def _noting(
    events: Iterator[dict[str, Any]], wanted: Collection[int], seen: dict[int, str]
) -> Iterator[dict[str, Any]]:
    for event in events:
        if event.get("sequence") in wanted:
            seen[event["sequence"]] = str(event.get("hash"))
        yield event


def _moment(text: str) -> str:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return moment.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
