"""``kong-scim quarantine`` shows who was deprovisioned and who is held back, and decides about
them.
"""

from __future__ import annotations

from typing import Any

import click

from kong_scim.cli.client import Client, gateway_options
from kong_scim.cli.printing import say, say_json

_PATH = "/Quarantine"

_MEANS = {
    "off": "nothing is ever held back: config.quarantine.enabled is false",
    "open": "nothing is held back",
    "quarantined": "nobody is deactivated or deleted until you approve, reject or lift",
    "approved": "everything goes through until {until}, and counting begins anew then",
    "rejected": "nobody is deactivated or deleted until {until}, and later if such requests go on",
}


@click.group()
@gateway_options
@click.pass_context
def quarantine(context: click.Context, scim_url: str | None, token: str | None) -> None:
    """Decide whether a tenant that too many users left at once may lose more."""
    context.obj = (scim_url, token)


@quarantine.command("show")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(context: click.Context, as_json: bool) -> None:
    """Show how it stands, who was removed, and who would have been."""
    found = Client(*context.obj).get(_PATH)
    if as_json:
        say_json(found)
    else:
        say(*lines(found))


@quarantine.command("approve")
@click.option(
    "--minutes",
    type=click.IntRange(1, 10_080),
    help="How long everything goes through; without it, one window (60 minutes by default).",
)
@click.pass_context
def approve(context: click.Context, minutes: int | None) -> None:
    """It is meant: let everything through for a while, however many they are."""
    _decide(context, {"decision": "approve", **({"minutes": minutes} if minutes else {})})


@quarantine.command("reject")
@click.pass_context
def reject(context: click.Context) -> None:
    """It is a mistake: refuse everything until the provider has stopped asking for it."""
    _decide(context, {"decision": "reject"})


@quarantine.command("lift")
@click.pass_context
def lift(context: click.Context) -> None:
    """It is mended: go back to normal now, and count anew."""
    _decide(context, {"decision": "lift"})


def _decide(context: click.Context, body: dict[str, Any]) -> None:
    say(_standing(Client(*context.obj).post(_PATH, body)))


def lines(found: dict[str, Any]) -> list[str]:
    """Return how it stands, and a table of the users and of the memberships."""
    text = [_standing(found)]
    if "reason" in found:
        text.append(f"since {found['since']}: {found['reason']}")
    text.append(
        f"{found['gone']} of {found['users']} users are gone; {found['allowed']} may be "
        f"within {found['window']} minutes"
    )
    text.append(
        f"{found['membershipsTaken']} of {found['memberships']} memberships of ACL groups are "
        f"taken away; {found['membershipsAllowed']} may be"
    )
    if "decided" in found:
        text.append(f"last decision: {found['decided']} by {found['decidedBy']}")
    for what, title in (("removed", "removed"), ("held", "held back")):
        users, total = found[what], found[f"{what}Total"]
        if not total:
            continue
        requests = f", {found['refused']} requests" if what == "held" and "refused" in found else ""
        text += ["", f"{title}: {total} users{requests}"]
        text += [_row(user) for user in users]
        if total > len(users):
            text.append(f"  and {total - len(users)} more")
    held = found["membershipsHeld"]
    if held:
        text += ["", f"memberships held back: {len(held)} changes"]
        for each in held:
            parts = [each["at"], f"{each['memberships']} by", each["id"], each.get("display", "")]
            text.append("  " + "  ".join(part for part in parts if part))
    return text


def _standing(found: dict[str, Any]) -> str:
    state = found["state"]
    return f"{state}: {_MEANS[state].format(until=found.get('until'))}"


def _row(user: dict[str, Any]) -> str:
    refused = f"refused {user['refused']} times" if "refused" in user else ""
    parts = [user["at"], f"{user['operation']:<10}", user["id"], user.get("userName", ""), refused]
    return "  " + "  ".join(part for part in parts if part)
