"""``kong-scim requests`` shows the provider log: what the identity provider sent lately."""

from __future__ import annotations

from typing import Any

import click

from kong_scim.cli.client import Client, gateway_options
from kong_scim.cli.printing import say, say_json

PAGE = 200
"""Requests that are asked for at once."""


@click.command()
@gateway_options
@click.option("--failed", is_flag=True, help="Only those that failed.")
@click.option(
    "--count", default=50, show_default=True, type=click.IntRange(1), help="How many, at most."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def requests(
    scim_url: str | None, token: str | None, failed: bool, count: int, as_json: bool
) -> None:
    """Show the SCIM requests of the last days, the newest first."""
    client = Client(scim_url, token)
    query: dict[str, Any] = {"failed": "true" if failed else "false"}
    left = count
    while left > 0:
        page = client.get("/Requests", count=min(left, PAGE), **query)
        for request in page["requests"]:
            if as_json:
                say_json(request)
            else:
                say(*_lines(request))
        left -= len(page["requests"])
        if page["next"] is None:
            return
        query["before"] = page["next"]


def _lines(request: dict[str, Any]) -> list[str]:
    sender = request["provider"] or "unknown"
    lines = [
        f"{request['at'][:19]}Z  {request['status']}  {request['milliseconds']:>6} ms  "
        f"{request['token'] or 'not let in'} ({sender})  {request['method']} {request['path']}"
    ]
    return lines + [f"        {request[name]}" for name in ("error", "body") if request[name]]
