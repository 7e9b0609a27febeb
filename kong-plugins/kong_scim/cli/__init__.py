"""The command line, an extra of the package: what serves Kong does without it."""

from __future__ import annotations

import sys


def command_line() -> None:
    """Run ``kong-scim``, or say what to install where only the plugin server is."""
    try:
        from kong_scim.cli.main import main  # noqa: PLC0415 - click may not be there
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit("Only the plugin server is installed here. Run: pip install 'kong-scim[cli]'")
    main()
