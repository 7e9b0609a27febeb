"""The Compose files as Docker Compose reads them, without Docker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

_VALUES = {"SCIM_TOKEN": "a-token", "POSTGRES_PASSWORD": "a-password"}
"""A value for each variable that has to be set."""

_ONE_SHOTS = {"certificate", "configuration", "migrations"}
"""Services that do something and end."""

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")


class UnsetVariableError(Exception):
    """A variable without which Compose refuses to start. The message is the file's own."""


class Composition:
    """One Compose file. Its paths are those of the repository's top.

    :ivar database: What Kong, or its control plane, keeps its entities in: ``postgres`` or ``off``.
    """

    def __init__(self, file: str, database: str) -> None:
        self.file = file
        self.database = database

    def __repr__(self) -> str:
        return Path(self.file).stem

    @cached_property
    def text(self) -> str:
        """The file as it is."""
        return (ROOT / self.file).read_text()

    def raw(self) -> dict[str, Any]:
        """The file as YAML, with its variables in it."""
        tree: dict[str, Any] = yaml.safe_load(self.text)
        return tree

    def variables(self) -> dict[str, str]:
        """How each variable is used: ``?`` where it must be set, ``-`` where it has a default."""
        return {name: mode for _, name, mode, _ in _VARIABLE.findall(self.text) if name}

    @cached_property
    def secrets(self) -> dict[str, str]:
        """A value for each variable that has to be set."""
        return {name: _VALUES[name] for name, mode in self.variables().items() if mode == "?"}

    def interpolated(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """The file with its variables filled in (compose-spec, 12-interpolation.md).

        :raises UnsetVariableError: For one that must be set and is not, or is empty.
        """
        tree: dict[str, Any] = _filled(self.raw(), environment)
        return tree

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        """Each service, by its name."""
        found: dict[str, dict[str, Any]] = self.interpolated(self.secrets)["services"]
        return found

    @cached_property
    def one_shots(self) -> list[str]:
        """Services that do something and end."""
        return sorted(_ONE_SHOTS & set(self.services))

    @cached_property
    def kong(self) -> list[str]:
        """Services that run Kong's image."""
        return [name for name, each in self.services.items() if each["image"].startswith("kong:")]

    @property
    def with_admin_api(self) -> str:
        """The service whose Admin API is published."""
        return "control-plane" if "control-plane" in self.services else "kong"

    def kong_environment(self, service: str) -> dict[str, str]:
        """What a service sets of Kong, in the names of the environment."""
        return {
            name: value
            for name, value in self.services[service]["environment"].items()
            if name.startswith("KONG_")
        }

    def mounts(self, service: str) -> dict[str, dict[str, Any]]:
        """Volumes and bind mounts of a service, by the path inside the container."""
        found = {}
        for volume in self.services[service].get("volumes", []):
            if isinstance(volume, str):
                source, target, *_ = volume.split(":")
                found[target] = {"type": "volume", "source": source, "target": target}
            else:
                found[volume["target"]] = volume
        return found


POSTGRES = Composition("docker-compose.yml", "postgres")
DBLESS = Composition("kong-plugins/docker-compose.dbless.yml", "off")
HYBRID = Composition("kong-plugins/docker-compose.hybrid.yml", "postgres")
COMPOSITIONS = (POSTGRES, DBLESS, HYBRID)

every_file = pytest.mark.parametrize("file", COMPOSITIONS, ids=repr)
"""Runs a test for each Compose file."""


def every(kind: str) -> pytest.MarkDecorator:
    """Run a test for each service of a kind in each Compose file.

    :param kind: ``services``, ``kong`` or ``one_shots``.
    """
    return pytest.mark.parametrize(
        ("file", "name"),
        [
            pytest.param(file, name, id=f"{file!r}-{name}")
            for file in COMPOSITIONS
            for name in sorted(getattr(file, kind))
        ],
    )


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, environment) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _value(match, environment), value)
    return value


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    dollar, name, mode, text = match.groups()
    if dollar:
        return "$"
    if environment.get(name):
        return environment[name]
    if mode == "?":
        raise UnsetVariableError(f"{name}: {text}")
    return text or ""
