"""``kong-scim sandbox``: a gateway for machines without Kong."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from kong_scim.cli.console import PORT as CONSOLE_PORT
from kong_scim.cli.printing import failure, say
from kong_scim.console import serving
from kong_scim_sandbox import gateway
from kong_scim_sandbox.declarative import DeclarationError
from kong_scim_sandbox.entity_schema import DaoError
from kong_scim_sandbox.plugin_process import PluginServerError

_PORT = click.IntRange(0, 65535)


@click.command()
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
    type=click.Choice(["sqlite", "off", "hybrid"]),
    default="sqlite",
    show_default=True,
    help="As a Kong with a database, as a DB-less one, or as a data plane with its control plane.",
)
@click.option(
    "--console-port",
    type=_PORT,
    help=f"Port of the console; 0: a free one. Without it {CONSOLE_PORT}, or a free one where that "
    "is taken.",
)
@click.option("--no-console", is_flag=True, help="Serve no console.")
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
    database: Literal["sqlite", "off", "hybrid"],
    token: str | None,
    echo: bool,
    console_port: int | None,
    no_console: bool,
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
        console_port=None if no_console else _console_port(console_port),
    )
    try:
        gateway.run(options, lambda text: say(*text.splitlines()))
    except DaoError as error:
        raise failure(f"{config}: in consumers: {error.message}") from error
    except (DeclarationError, PluginServerError, OSError) as error:
        raise failure(str(error)) from error


def _console_port(wanted: int | None) -> int:
    """Return the port for the console: several sandboxes may run at the same time."""
    if wanted is not None:
        return wanted
    try:
        serving.listen(CONSOLE_PORT).close()
    except OSError:
        return 0
    return CONSOLE_PORT
