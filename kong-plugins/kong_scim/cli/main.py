"""The command line ``kong-scim``. Each command has a module of its own."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import click

from kong_scim import __version__
from kong_scim.cli.printing import failure

_COMMANDS = {
    "access-review": "kong_scim.cli.access_review",
    "audit": "kong_scim.cli.audit",
    "console": "kong_scim.cli.console",
    "deliveries": "kong_scim.cli.deliveries",
    "demo": "kong_scim_demo.command",
    "drift": "kong_scim.cli.drift",
    "doctor": "kong_scim.cli.doctor",
    "init": "kong_scim.cli.init",
    "quarantine": "kong_scim.cli.quarantine",
    "reconcile": "kong_scim.cli.drift",
    "requests": "kong_scim.cli.requests",
    "sandbox": "kong_scim_sandbox.command",
    "token": "kong_scim.cli.token",
    "who": "kong_scim.cli.who",
}
"""The module of each command. The command is its function of the same name, with underscores."""

_EXTRAS = {"console": "console", "demo": "sandbox", "sandbox": "sandbox"}
"""The extra of the package that a command needs beyond ``cli``."""

_OF_EXTRAS = {"console": "uvicorn", "sandbox": "lupa"}
"""A package of each extra, which is there if the extra is installed."""


class _Commands(click.Group):
    """Imports only the module of the command that is called, so that it starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        extra = _EXTRAS.get(cmd_name)
        if extra is not None and find_spec(_OF_EXTRAS[extra]) is None:
            return _not_installed(cmd_name, extra)
        function = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(_COMMANDS[cmd_name]), function)
        return command


def _not_installed(name: str, extra: str) -> click.Command:
    """Return what stands in for a command whose extra is not installed."""
    text = f"Needs more packages: pip install 'kong-scim[{extra}]'"

    @click.command(
        name,
        help=text,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def command() -> None:
        raise failure(f"{name} is not installed. {text}")

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
