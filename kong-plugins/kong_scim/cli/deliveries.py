"""``kong-scim deliveries`` shows which webhooks were sent and which failed, and sends them
again."""

from __future__ import annotations

from typing import Any

import click

from kong_scim.cli.client import Client, gateway_options
from kong_scim.cli.printing import say, say_json


@click.group(invoke_without_command=True)
@gateway_options
@click.option("--failed", is_flag=True, help="Only those that were given up.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def deliveries(
    context: click.Context, scim_url: str | None, token: str | None, failed: bool, as_json: bool
) -> None:
    """Show what was to be sent to webhooks, with every attempt."""
    context.obj = (scim_url, token)
    if context.invoked_subcommand is not None:
        return
    client = Client(scim_url, token)
    for delivery in client.deliveries("dead" if failed else None):
        if as_json:
            say_json(delivery)
        else:
            say(*_lines(delivery))


@deliveries.command("replay")
@click.argument("ids", nargs=-1, type=click.IntRange(1))
@click.option("--all-failed", is_flag=True, help="Those that were given up, all of them.")
@click.pass_context
def deliveries_replay(context: click.Context, ids: tuple[int, ...], all_failed: bool) -> None:
    """Send again what was delivered or given up."""
    if all_failed == bool(ids):
        raise click.UsageError("name deliveries by their ids, or say --all-failed")
    body: dict[str, Any] = {"failed": True} if all_failed else {"ids": list(ids)}
    answer = Client(*context.obj).post("/Events/deliveries/replay", body)
    say(f"{answer['replayed']} deliveries will be sent again")


def _lines(delivery: dict[str, Any]) -> list[str]:
    lines = [
        f"{delivery['id']:>6}  {delivery['state']:<9}  {delivery['target']}  "
        f"event {delivery['event']}  resource {delivery['resource']}"
    ]
    for attempt in delivery["attempts"]:
        became = attempt.get("error") or attempt["status"]
        lines.append(f"        {attempt['at'][:19]}Z  {attempt['milliseconds']} ms  {became}")
    return lines
