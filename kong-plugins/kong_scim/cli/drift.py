"""``kong-scim drift`` shows what Kong has that SCIM does not want, and what it lacks; ``kong-scim
reconcile`` mends it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from kong_scim.cli.client import Client, gateway_options
from kong_scim.cli.kong_yml import plugins_in
from kong_scim.cli.printing import failure, safe, say, say_json

COUNT = 1000
"""Differences that are requested for one part; the gateway may return fewer."""

NONE, SOME, FAILED = 0, 1, 2
"""Exit statuses: there are no differences, there are some, or it is not known."""

_WIDTH = 160


class _Command(click.Command):
    """A command that ends with status 2 if it cannot find out whether there are differences."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.show()
            ctx.exit(FAILED)


@click.command(cls=_Command)
@gateway_options
@click.option("--user", metavar="NAME", help="Only this user: a userName, or an id.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="NEW.yml",
    help="Show what this declarative configuration of Kong would change, before it is loaded.",
)
@click.option("--tenant", metavar="NAME", help="With --config: whose plugin in it is meant.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def drift(
    *,
    scim_url: str | None,
    token: str | None,
    user: str | None,
    config_file: Path | None,
    tenant: str | None,
    as_json: bool,
) -> None:
    """Compare Kong with what SCIM wants; exit with 0 for no difference, 1 for some, 2 for failure.

    With --config, compare what SCIM wants now with what it would want under another configuration.
    """
    client = Client(scim_url, token)
    if config_file is not None:
        found = _previewed(client, _plugin_config(config_file, tenant), as_json=as_json)
    else:
        found = _shown(client, user, as_json=as_json)
    sys.exit(SOME if found else NONE)


@click.command(cls=_Command)
@gateway_options
@click.option("--dry-run", is_flag=True, help="Show what would be mended, and mend nothing.")
@click.option("--user", metavar="NAME", help="Only this user: a userName, or an id.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def reconcile(
    *, scim_url: str | None, token: str | None, dry_run: bool, user: str | None, as_json: bool
) -> None:
    """Mend the differences between Kong and what SCIM wants.

    Exit with 0 if no difference is left, 1 if some are (held back, or not possible), 2 for failure.
    """
    client = Client(scim_url, token)
    body: dict[str, Any] = {"dryRun": dry_run, "user": user and client.user_id(user)}
    counts: Counter[str] = Counter()
    rows: list[Mapping[str, Any]] = []
    for part in _parts(lambda cursor: client.post("/Drift", {**body, "cursor": cursor})):
        for each in part["results"]:
            counts[each["result"]] += 1
            if as_json:
                say_json(each)
            else:
                rows.append(each)
        if not as_json and part["next"] is not None:
            say(f"{_counted(counts)} so far ...", err=True)
    if not as_json:
        _print(rows, {"result": "result", "userName": "user", "kind": "kind", "detail": "detail"})
        say(_counted(counts))
    sys.exit(SOME if counts.total() > counts["mended"] else NONE)


def _shown(client: Client, user: str | None, *, as_json: bool) -> int:
    """Print all differences, and return how many there are."""
    query: dict[str, Any] = {"count": COUNT}
    if user is not None:
        query["user"] = client.user_id(user)
    rows: list[Mapping[str, Any]] = []
    part: dict[str, Any] = {}
    for part in _parts(lambda cursor: client.get("/Drift", **query, **_given(cursor=cursor))):
        if as_json:
            for each in part["differences"]:
                say_json(each)
        else:
            rows += part["differences"]
            if part["next"] is not None:
                say(f"{part['total']} differences so far ...", err=True)
    if not as_json:
        columns = {"userName": "user", "kind": "kind", "wanted": "wanted", "found": "found"}
        _print(rows, {**columns, "since": "since", "mend": "what mends it"})
        kinds = ", ".join(f"{count} {kind}" for kind, count in part["byKind"].items())
        say(f"{part['total']} differences" + (f": {kinds}" if kinds else ""))
        last = part["pass"]
        if last:
            say(f"last pass in the background: {last['ended']}, {last['people']} users")
    return int(part["total"])


def _previewed(client: Client, config: Mapping[str, Any], *, as_json: bool) -> int:
    """Print what another configuration would change, and return for how many users."""
    rows: list[Mapping[str, Any]] = []
    people = changed = 0
    for part in _parts(
        lambda cursor: client.post(
            "/Drift/preview", {"config": config, "count": COUNT, "cursor": cursor}
        )
    ):
        people += part["people"]
        changed += len(part["changes"])
        if as_json:
            for each in part["changes"]:
                say_json(each)
        else:
            rows += [
                {**each, **{name: ", ".join(each[name]) for name in ("gains", "loses")}}
                for each in part["changes"]
            ]
            if part["next"] is not None:
                say(f"{changed} of {people} users so far ...", err=True)
    if not as_json:
        columns = ("before", "after", "gains", "loses", "error")
        _print(rows, {"userName": "user", **{name: name for name in columns}})
        say(f"{changed} of {people} users would change")
    return changed


def _parts(read: Any) -> Iterator[dict[str, Any]]:
    """Yield the parts of an answer, each read with the cursor of the one before."""
    cursor = None
    while True:
        part = read(cursor)
        yield part
        cursor = part["next"]
        if cursor is None:
            return


def _given(**query: Any) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _print(rows: list[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print rows as a table, without columns that are empty; nothing for no rows."""
    shown = {name: title for name, title in columns.items() if any(row.get(name) for row in rows)}
    if not rows:
        return
    table = Table(*shown.values(), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(safe(str(row.get(name) or "")) for name in shown))
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, markup=False, highlight=False)
    console.print(table)


def _counted(counts: Mapping[str, int]) -> str:
    parts = [f"{count} {result}" for result, count in sorted(counts.items())]
    return ", ".join(parts) or "nothing to mend"


def _plugin_config(path: Path, tenant: str | None) -> dict[str, Any]:
    """Return the configuration of the plugin `scim` in a declarative file.

    :raises ~click.ClickException: When there is none, or more than one.
    """
    found = {str(each.get("tenant") or "default"): each for each in plugins_in(path)}
    if not found:
        raise failure(f"{path} has no plugin `scim`: name the declarative configuration of Kong")
    if tenant is None and len(found) == 1:
        return next(iter(found.values()))
    if tenant not in found:
        raise failure(f"{path} has the tenants {', '.join(sorted(found))}: name one with --tenant")
    return found[tenant]
