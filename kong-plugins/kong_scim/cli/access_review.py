"""``kong-scim access-review`` reports who reaches which service and route, and verifies reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click
import httpx
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from kong_scim.cli.access_report_files import UnreadableError, content_of, reader_of, render
from kong_scim.cli.client import Client, gateway_options
from kong_scim.cli.printing import failure, say
from kong_scim.cli.timeline import requests_of
from kong_scim.review.report import SIGNED_AS, claims, digest_of
from kong_scim.signature_keys import ALGORITHMS

Report = dict[str, Any]

_PATH = "/AccessReview"

FORMATS = ("table", "csv", "json", "html")


@click.group(invoke_without_command=True)
@gateway_options
@click.option("--at", metavar="DATE", help="As of the end of a date, or as of a moment.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="A table to read, or a file that `verify` checks.",
)
@click.option("--user", metavar="NAME", help="Only this user: a userName, or an id.")
@click.option("--group", metavar="NAME", help="Only what is reached by this ACL group.")
@click.option("--service", metavar="NAME", help="Only routes of this service.")
@click.option("--refused", is_flag=True, help="Also lines for what a user does not reach.")
@click.option(
    "--access",
    type=click.File(encoding="utf-8", errors="replace"),
    metavar="FILE|-",
    help="JSON lines of Kong's file-log or http-log, for the last use of each access.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the report there.",
)
@click.pass_context
def access_review(  # noqa: PLR0917 - one parameter per option
    context: click.Context,
    scim_url: str | None,
    token: str | None,
    at: str | None,
    form: str,
    user: str | None,
    group: str | None,
    service: str | None,
    refused: bool,
    access: TextIO | None,
    output: Path | None,
) -> None:
    """Report who reaches which service and route, by which group, and since when."""
    if context.invoked_subcommand is not None:
        return
    names = {"at": at, "user": user, "group": group, "service": service}
    query = {name: value for name, value in names.items() if value is not None}
    report = fetch(Client(scim_url, token), {**query, **({"refused": "true"} if refused else {})})
    if access is not None:
        report["lastUsed"] = last_used(report, access)
    report["content"] = content_of(report)
    text = render(report, form)
    if output is None:
        _print(text, form)
        return
    try:
        output.write_bytes(text.encode())
    except OSError as error:
        raise failure(f"{output}: {error.strerror}") from error
    say(f"{report['people']} people, {report['lines']} lines: {output}", err=True)


@access_review.command("verify")
@click.option(
    "--keys",
    metavar="FILE|URL",
    help="The public keys of the gateway, such as https://gw.example.com/scim/v2/jwks.json.",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def access_review_verify(file: Path, keys: str | None) -> None:
    """Check that a report (CSV, JSON or HTML) is what the gateway answered."""
    try:
        form, report = reader_of(file.read_bytes())
    except UnreadableError as error:
        raise failure(f"{file}: {error}") from None
    signed = check(file, form, report, keys)
    say(
        f"ok: {report['people']} people and {report['lines']} lines of tenant {report['tenant']} "
        f"at {report['moment']}",
        f"sha256 {report['sha256']}",
        signed,
    )
    trail = report["trail"]
    if trail["sequence"]:
        known = f"{trail['sequence']}:{trail['hash']}"
        say(f"the trail that it stands on: kong-scim audit verify --known {known}")


def fetch(client: Client, query: dict[str, str]) -> Report:
    """Return the whole report, which the gateway gives page by page.

    :raises ~click.ClickException: When there is no answer, or the pages do not fit together.
    """
    report = client.get(_PATH, **query)
    entries = report["entries"]
    while report["next"]:
        report = client.get(_PATH, **query, cursor=report["next"])
        entries += report["entries"]
    report = {name: value for name, value in report.items() if name != "next"}
    report["entries"] = entries
    if digest_of(report) != report["sha256"]:
        raise failure("the pages of the report do not fit together: ask again")
    return {"version": 1, **report}


def last_used(report: Report, log: Iterable[str]) -> list[str | None]:
    """Return for each line when the access was used last, by an access log; None if it was not."""
    last: dict[tuple[str, str | None], datetime] = {}
    for request in requests_of(log):
        key = request.user, request.route
        if not request.is_refused and (key not in last or last[key] < request.at):
            last[key] = request.at
    uses = (last.get((entry["user"], entry["route"])) for entry in report["entries"])
    return [None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for at in uses]


def check(file: Path, form: str, report: Report, keys: str | None) -> str:
    """Return a sentence about the signature of a report that is intact.

    :raises ~click.ClickException: It is not.
    """
    try:
        is_intact = (
            digest_of(report) == report["sha256"] and content_of(report) == report["content"]
        )
        is_intact = is_intact and render(report, form).encode() == file.read_bytes()
    except (KeyError, TypeError, ValueError, AttributeError):
        is_intact = False
    if not is_intact:
        raise failure(f"{file}: altered: its content is not the one with this SHA-256")
    signature = report["signature"]
    if signature is None:
        if keys is not None:
            raise failure(f"{file}: it is not signed, so keys prove nothing")
        return "not signed: who can write this file could have made it up (events.signing_key)"
    if keys is None:
        return "signed, and not checked by whom: give --keys"
    issuer = _checked(file, report, signature, _keys(keys))
    return f"signed by {issuer}"


def _checked(file: Path, report: Report, signature: Any, keys: Any) -> str:
    try:
        token = jwt.decode(signature, keys, algorithms=ALGORITHMS)
    except (JoseError, ValueError, TypeError, AttributeError):
        raise failure(f"{file}: none of these keys signed it") from None
    if token.header.get("typ") != SIGNED_AS:
        raise failure(f"{file}: its signature is that of something else")
    if any(token.claims.get(name) != value for name, value in claims(report).items()):
        raise failure(f"{file}: altered: the gateway signed another report")
    return str(token.claims.get("iss"))


def _keys(source: str) -> jwk.KeySet:
    try:
        if source.startswith(("https://", "http://")):
            answer = httpx.get(source, timeout=30)
            answer.raise_for_status()
            text = answer.text
        else:
            text = Path(source).read_text(encoding="utf-8")
        return jwk.KeySet.import_key_set(json.loads(text))
    except (httpx.HTTPError, OSError) as error:
        raise failure(f"{source}: {error}") from error
    except Exception:  # joserfc and cryptography raise many
        raise failure(f"{source}: this is no JWK set") from None


def _print(text: str, form: str) -> None:
    if form == "table" or sys.stdout.isatty():
        say(*text.splitlines())
    else:
        click.echo(text.encode(), nl=False)
