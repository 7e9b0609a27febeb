"""docker-compose.yml as Docker Compose reads it, without Docker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]

SECRETS = {"SCIM_TOKEN": "a-token", "POSTGRES_PASSWORD": "a-password"}
"""A value for each variable that has to be set."""

ONE_SHOTS = {"migrations", "configuration"}
"""Services that do something and end."""

KONG = ("kong", *sorted(ONE_SHOTS))
"""Services that run Kong's image."""

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")


class UnsetVariableError(Exception):
    """A variable without which Compose refuses to start. The message is the file's own."""


def raw() -> dict[str, Any]:
    """The file as YAML, with its variables in it."""
    tree: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return tree


def variables() -> dict[str, str]:
    """How each variable of the file is used: ``?`` where it must be set, ``-`` for a default."""
    text = (ROOT / "docker-compose.yml").read_text()
    return {name: mode for _, name, mode, _ in _VARIABLE.findall(text) if name}


def interpolated(environment: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables filled in (compose-spec, 12-interpolation.md).

    :raises UnsetVariableError: For one that must be set and is not, or is empty.
    """
    tree: dict[str, Any] = _filled(raw(), environment)
    return tree


@cache
def services() -> dict[str, dict[str, Any]]:
    """Each service, by its name."""
    found: dict[str, dict[str, Any]] = interpolated(SECRETS)["services"]
    return found


def kong_environment(service: str) -> dict[str, str]:
    """What a service sets of Kong, in the names of the environment."""
    return {
        name: value
        for name, value in services()[service]["environment"].items()
        if name.startswith("KONG_")
    }


def mounts(service: str) -> dict[str, dict[str, Any]]:
    """Volumes and bind mounts of a service, by the path inside the container."""
    found = {}
    for volume in services()[service].get("volumes", []):
        if isinstance(volume, str):
            source, target, *_ = volume.split(":")
            found[target] = {"type": "volume", "source": source, "target": target}
        else:
            found[volume["target"]] = volume
    return found


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
