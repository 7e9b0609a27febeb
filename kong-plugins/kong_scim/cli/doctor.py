"""``kong-scim doctor`` finds out what is wrong with a set-up, and says what mends it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import httpx

from kong_scim.cli.printing import say, say_json
from kong_scim.doctor.examination import Subject, examine
from kong_scim.doctor.providers import Step, providers
from kong_scim.doctor.report import Finding, Report, State

_FILE = click.Path(path_type=Path)


@click.command()
@click.option(
    "--url",
    "--scim-url",
    envvar="SCIM_URL",
    show_envvar=True,
    help="SCIM base URL of the gateway, as the provider uses it.",
)
@click.option(
    "--token",
    envvar="SCIM_TOKEN",
    show_envvar=True,
    help="A SCIM token; with the scope scim:admin everything can be looked at.",
)
@click.option("--admin-url", help="URL of Kong's Admin API, such as http://127.0.0.1:8001.")
@click.option("--config", type=_FILE, help="A declarative configuration (kong.yml) to look at.")
@click.option("--socket", type=_FILE, help="The plugin server's socket, on the gateway's machine.")
@click.option("--log", "logs", type=_FILE, multiple=True, help="A log to search; several times.")
@click.option(
    "--provider",
    type=click.Choice(sorted(providers())),
    help="Play this provider's connection test and first sync, as a dry run.",
)
@click.option("--insecure", is_flag=True, help="Take any certificate: for a trial only.")
@click.option("--strict", is_flag=True, help="Let a warning count as a failure.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(  # noqa: PLR0917 - one parameter per option
    url: str | None,
    token: str | None,
    admin_url: str | None,
    config: Path | None,
    socket: Path | None,
    logs: tuple[Path, ...],
    provider: str | None,
    insecure: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Look at a set-up, and say of each fault what mends it.

    The exit status is 0 if nothing failed, 1 if a check failed, and 2 if nothing could be looked
    at.
    """
    if not (url or admin_url or config or socket or logs):
        raise click.UsageError("give --url, --admin-url, --config, --socket or --log")
    if provider and not (url and token):
        raise click.UsageError("--provider needs --url and --token")
    _refuse_what_is_no_url({"--url": url, "--admin-url": admin_url})
    report, steps = examine(
        Subject(url, token, admin_url, config, socket, logs, provider, insecure)
    )
    status = report.exit_status(strict=strict)
    if as_json:
        say_json(
            {
                "url": url,
                "exitStatus": status,
                "checks": [each.to_json() for each in report.findings()],
                **(
                    {"provider": provider, "steps": [each.to_json() for each in steps]}
                    if provider
                    else {}
                ),
            }
        )
    else:
        say(*_table(report), *_steps(steps), "", _summary(report))
    sys.exit(status)


def _refuse_what_is_no_url(options: dict[str, str | None]) -> None:
    for option, value in options.items():
        if value is None:
            continue
        try:
            url = httpx.URL(value)
            usable = url.scheme in {"http", "https"} and bool(url.host)
        except httpx.InvalidURL:
            usable = False
        if not usable:
            raise click.UsageError(f"{option} is no URL such as https://gw.example.com/scim/v2")


def _table(report: Report) -> list[str]:
    findings = report.findings()
    width = max(len(each.check) for each in findings)
    return [line for each in findings for line in _lines(each, width)]


def _lines(finding: Finding, width: int) -> list[str]:
    text = [f"{finding.state:<8} {finding.check:<{width}}  {finding.found}"]
    if finding.mend:
        text.append(f"{'':<9}{'':<{width}}  -> {finding.mend}")
    return text


def _steps(steps: Sequence[Step]) -> list[str]:
    text = []
    for part, title in (("test", "connection test"), ("sync", "first sync, as a dry run")):
        of_part = [each for each in steps if each.part == part]
        text += ["", f"{title}:"] if of_part else []
        for each in of_part:
            got = each.status if each.status is not None else "-"
            text.append(f"{each.state:<8} {got!s:<4} {each.request}")
            text += [f"{'':<13} {each.detail}"] if each.detail else []
    return text


def _summary(report: Report) -> str:
    states = [each.state for each in report.findings()]
    counts = {state: states.count(state) for state in State}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)
