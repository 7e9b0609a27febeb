"""``kong-scim who`` says of a person which access it has in Kong, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from kong_scim.cli.client import Client, gateway_options
from kong_scim.cli.printing import failure, say, say_json


@click.command()
@gateway_options
@click.argument("user")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def who(scim_url: str | None, token: str | None, user: str, as_json: bool) -> None:
    """Show the consumer, the ACL groups and the credentials of USER.

    USER is a userName, an id, or the beginning of a name that only one person has.
    """
    client = Client(scim_url, token)
    person = client.get("/People", id=_id(client, user))
    if as_json:
        say_json(person)
    else:
        say(*_lines(person))


def _id(client: Client, user: str) -> str:
    """Return the id of the person who is meant.

    :raises ~click.ClickException: When the beginning of a name is that of several people.
    """
    exact = client.user_id(user)
    found = client.get("/People", search=user, count=5)["people"] if exact == user else []
    if len(found) > 1:
        names = ", ".join(str(each["userName"]) for each in found)
        raise failure(f"{user} may be {names}: name one of them by the whole userName")
    return str(found[0]["id"]) if found else exact


def _lines(person: dict[str, Any]) -> Iterator[str]:
    state = "active" if person["active"] else "not active"
    yield f"{person['userName']}  {person['id']}  {state}"
    consumer = person["consumer"]
    if consumer is None:
        yield "Consumer: none in Kong"
    else:
        suspended = ", suspended" if person["suspended"] else ""
        yield f"Consumer: {consumer['username']}  {consumer['id']}{suspended}"
    yield "ACL groups:" if person["groups"] else "ACL groups: none"
    for group in person["groups"]:
        yield f"  {group['name']}  {_STATE[group['wanted'], group['found']]}"
        for reason in group["reasons"]:
            way = " > ".join(reason["via"])
            yield f"      {f'by {way}: ' if way else ''}{reason['detail']}"
    yield "Credentials:" if person["credentials"] else "Credentials: none"
    for credential in person["credentials"]:
        expires = f", expires {credential['expires']}" if credential["expires"] else ""
        created = credential["created"] or "at an unknown time"
        yield f"  {credential['kind']}  {credential['id']}  created {created}{expires}"


_STATE = {
    (True, True): "",
    (True, False): "(Kong does not have it, and should)",
    (False, True): "(SCIM does not give it)",
    (False, False): "(not given now)",
}
"""What is said of a group, by whether it is wanted and found."""
