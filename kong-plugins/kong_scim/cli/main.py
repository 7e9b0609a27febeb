"""The command line, ``kong-scim``: each command has a module of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from kong_scim import __version__
from kong_scim.cli import demo as demos
from kong_scim.cli.audit import audit
from kong_scim.cli.deliveries import deliveries
from kong_scim.cli.kong import KongError
from kong_scim.cli.quarantine import quarantine
from kong_scim.cli.story import Endpoints
from kong_scim.cli.token import token as token_commands
from kong_scim.sandbox import gateway
from kong_scim.sandbox.declarative import DeclarationError
from kong_scim.sandbox.entity_schema import DaoError
from kong_scim.sandbox.plugin_process import PluginServerError

_PORT = click.IntRange(0, 65535)


@click.group()
def main() -> None:
    """Kong SCIM: an identity provider's users and groups as consumers and groups of Kong."""


main.add_command(token_commands)


@main.command()
def version() -> None:
    """Show the version."""
    click.echo(__version__)


@main.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Declarative configuration (kong.yml). Without it, one that comes with the sandbox.",
)
@click.option(
    "--port", type=_PORT, default=8000, show_default=True, help="Proxy port; 0: a free one."
)
@click.option(
    "--admin-port",
    type=_PORT,
    default=8001,
    show_default=True,
    help="Admin API port; 0: a free one.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory that keeps everything. Without it, nothing outlives the sandbox.",
)
@click.option(
    "--database",
    type=click.Choice(["sqlite", "off"]),
    default="sqlite",
    show_default=True,
    help="As a Kong with a database, or as a DB-less one.",
)
@click.option("--token", help="SCIM token to accept. Without it, one is made.")
@click.option(
    "--echo/--no-echo",
    default=True,
    show_default=True,
    help="Answer for services at host `echo`, as docker-compose.yml has one.",
)
def sandbox(  # noqa: PLR0917 - one parameter per option
    config: Path | None,
    port: int,
    admin_port: int,
    data: Path | None,
    database: Literal["sqlite", "off"],
    token: str | None,
    echo: bool,
) -> None:
    """Run a gateway to try Kong SCIM with, where no Kong is at hand."""
    gateway.log_to_stderr()
    options = gateway.Options(
        config=config,
        port=port,
        admin_port=admin_port,
        data=data,
        database=database,
        token=token,
        echo=echo,
    )
    try:
        gateway.run(options, click.echo)
    except DaoError as error:
        raise click.ClickException(f"{config}: in consumers: {error.message}") from error
    except (DeclarationError, PluginServerError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option(
    "--on",
    type=click.Choice(["sandbox", "sandbox-off", "dbless"]),
    default="sandbox",
    show_default=True,
    help="What the demo runs: a sandbox, with a database or without, or a real DB-less Kong.",
)
@click.option(
    "--kong",
    help="Path of the `kong` command line, for --on dbless.",
    envvar="KONG_SCIM_KONG",
    show_envvar=True,
)
@click.option(
    "--scim-url", help="SCIM base URL of another gateway than a sandbox of the demo's own."
)
@click.option(
    "--token",
    help="SCIM token of that gateway, with the scope scim:admin.",
    envvar="SCIM_TOKEN",
    show_envvar=True,
)
@click.option("--admin-url", help="URL of its Admin API.")
@click.option("--api-url", help="URL of an API behind key-auth and acl.")
@click.option(
    "--group",
    default=demos.SANDBOX_GROUP,
    show_default=True,
    help="ACL group that the API lets through.",
)
def demo(  # noqa: PLR0917 - one parameter per option
    on: str,
    kong: str | None,
    scim_url: str | None,
    token: str | None,
    admin_url: str | None,
    api_url: str | None,
    group: str,
) -> None:
    """Play the main job over HTTP and show it: people come, get access, lose it and leave."""
    console = Console()
    if scim_url is None:
        if admin_url or api_url:
            raise click.UsageError("--admin-url and --api-url go with --scim-url")
        if on == "dbless" and not kong:
            raise click.UsageError(
                "--on dbless runs a real Kong: name its binary with --kong or KONG_SCIM_KONG, "
                "or take --on sandbox-off"
            )
        database = "off" if on == "sandbox-off" else "sqlite"
        try:
            with (
                demos.kong(kong)
                if kong and on == "dbless"
                else demos.sandbox(database) as endpoints
            ):
                held = demos.play(endpoints, console)
        except (demos.SandboxError, KongError) as error:
            raise click.ClickException(str(error)) from error
    elif token and admin_url and api_url:
        held = demos.play(Endpoints(scim_url, token, admin_url, api_url, group), console)
    else:
        raise click.UsageError("--scim-url needs --token, --admin-url and --api-url as well")
    click.echo("demo: ok" if held else "demo: failed")
    if not held:
        sys.exit(1)


main.add_command(audit)
main.add_command(deliveries)
main.add_command(quarantine)


if __name__ == "__main__":
    main()
