"""``kong-scim token`` makes a token, and shows what a token may do."""

from __future__ import annotations

import hashlib
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import yaml
from scim2_models import SCIMException

from kong_scim.auth.scopes import PROVISIONING
from kong_scim.auth.tokens import Tokens
from kong_scim.cli import vault
from kong_scim.cli.client import Client, gateway_options
from kong_scim.cli.kong_yml import plugins_in
from kong_scim.cli.printing import failure, say, say_json
from kong_scim.config.plugin import SCOPES, ConfigurationError, parse, references

_BYTES = 32
"""Random bytes of a new token: as many as a SHA-256 has."""


@click.group()
def token() -> None:
    """Bearer tokens of the SCIM endpoint."""


@token.command()
@click.option("--name", required=True, help="What logs shall call it.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="May be given several times.",
)
@click.option("--days", type=click.IntRange(1, 3650), help="For how many days it shall count.")
@click.option("--network", "networks", multiple=True, help="CIDR it shall count from.")
def new(name: str, scopes: tuple[str, ...], days: int | None, networks: tuple[str, ...]) -> None:
    """Make a token and show it, once, with the lines for kong.yml, which hold no secret."""
    value = secrets.token_urlsafe(_BYTES)
    entry: dict[str, Any] = {"name": name, "sha256": hashlib.sha256(value.encode()).hexdigest()}
    if scopes:
        entry["scopes"] = list(scopes)
    if days:
        entry["expires"] = f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    if networks:
        entry["networks"] = list(networks)
    try:
        parse({"tokens": [entry]})
    except ConfigurationError as error:
        raise failure(str(error)) from None
    click.echo("The token, for the identity provider. It is shown here and kept nowhere:", err=True)
    click.echo(value)
    click.echo("\nIts entry under `tokens` of the plugin scim in kong.yml:", err=True)
    click.echo(yaml.safe_dump([entry], sort_keys=False), nl=False)


@token.command()
@click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The declarative configuration (kong.yml) with the plugin.",
)
@click.option("--from", "address", default="127.0.0.1", show_default=True, help="Client's address.")
def check(config: Path, address: str) -> None:
    """Read a token from the standard input and say what it may do.

    Not from the command line, which others can see. References to the `env` vault are looked up in
    this environment, files on this machine.
    """
    value = click.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.read()
    accepted = False
    for raw in plugins_in(config):
        tenant = raw.get("tenant", "default")
        try:
            parsed, vault_references = parse(raw), references(raw)
            tokens = Tokens(parsed.tokens, vault_references)
            live = {reference: vault.get(reference) for reference in tokens.secrets}
            found = tokens.find(value, live, address)
        except ConfigurationError as error:
            raise failure(f"tenant {tenant}: {error}") from None
        except SCIMException as error:
            say(f"tenant {tenant}: refused: {error.detail}")
            continue
        if found is None:
            say(f"tenant {tenant}: not one of its tokens")
            continue
        accepted = True
        [entry] = [each for each in parsed.tokens if each.name == found.token]
        say(f"tenant {tenant}: token {found.token}")
        say(f"  scopes:   {' '.join(sorted(found.scopes))}{_of(found.scopes)}")
        say(f"  expires:  {entry.expires or 'never'}")
        say(f"  networks: {' '.join(entry.networks) or 'all'}")
    if not accepted:
        sys.exit(1)


@token.command("list")
@gateway_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(scim_url: str | None, token: str | None, as_json: bool) -> None:
    """Show the tokens of a gateway, when each was last used, and when it expires.

    So that an old one is taken away when nobody uses it any more. Needs the scope scim:events.
    """
    found = Client(scim_url, token).get("/Events/tokens")["tokens"]
    width = max((len(each["name"]) for each in found), default=0)
    for each in found:
        if as_json:
            say_json(each)
            continue
        used = f"{each['lastUsed'][:19]}Z" if each["lastUsed"] else "never"
        expires = f"  expires {each['expires']}" if each.get("expires") else ""
        say(f"{each['name']:<{width}}  last used {used:<20}{expires}".rstrip())


def _of(scopes: frozenset[str]) -> str:
    return " (all that a provider needs)" if scopes == PROVISIONING else ""
