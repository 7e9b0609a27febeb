"""Reads the configurations of the plugin ``scim`` in a declarative configuration of Kong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kong_scim.cli.printing import failure


def plugins_in(path: Path) -> list[dict[str, Any]]:
    """Return the configuration of each plugin ``scim`` in a file, however deep it is.

    :raises ~click.ClickException: When the file is no YAML.
    """
    try:
        return list(_plugins(yaml.safe_load(path.read_text())))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise failure(f"{path}: {error}") from None


def _plugins(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _plugins(each)
    if isinstance(value, dict):
        if value.get("name") == "scim" and isinstance(value.get("config"), dict):
            yield value["config"]
        for each in value.values():
            yield from _plugins(each)
