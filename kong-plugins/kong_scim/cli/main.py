"""The command line ``kong-scim``. Each command has a module of its own."""

from __future__ import annotations

from importlib import import_module

import click

from kong_scim import __version__

_COMMANDS = {
    "audit": "kong_scim.cli.audit",
    "console": "kong_scim.cli.console",
    "deliveries": "kong_scim.cli.deliveries",
    "demo": "kong_scim_demo.command",
    "quarantine": "kong_scim.cli.quarantine",
    "sandbox": "kong_scim_sandbox.command",
    "token": "kong_scim.cli.token",
}
"""The module of each command. The command is its function of the same name."""


class _Commands(click.Group):
    """Imports only the module of the command that is called, so that it starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name)
        return command


@click.group(cls=_Commands)
def main() -> None:
    """Kong SCIM: an identity provider's users and groups as consumers and groups of Kong."""


@main.command()
def version() -> None:
    """Show the version."""
    click.echo(__version__)


if __name__ == "__main__":
    main()
