"""Looks at a ``kong.yml``, and judges the plugin's instances wherever they were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kong_scim.config.plugin import ConfigurationError, parse, secrets_in_clear
from kong_scim.doctor.gateway import IN_CLEAR
from kong_scim.doctor.report import Report

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes of a declarative configuration that are read."""


@dataclass(frozen=True)
class Instance:
    """One plugin ``scim``, as it is configured.

    :param route: The name of its route; None if it is not on one.
    :param service: The service of that route, or None.
    """

    config: Mapping[str, Any]
    enabled: bool
    route: str | None
    service: str | None


def look_at_file(path: Path, report: Report) -> None:
    """Look at a declarative configuration."""
    declared: Any = None
    why = "it is no declarative configuration"
    try:
        if path.stat().st_size <= LARGEST_FILE:
            declared = yaml.safe_load(path.read_text())
        else:
            why = f"it is over {LARGEST_FILE} bytes"
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = str(error)
    if not isinstance(declared, dict):
        mend = "`kong config parse` names the line"
        report.fail("configuration", f"{path} cannot be read: {why}", mend)
        return
    check_instances(list(_instances(declared)), report)
    if any(_is_guard(plugin) for plugin in _list(declared, "plugins")):
        report.ok("guard", f"{path.name} has scim-bridge for every route")
    else:
        report.fail(
            "guard",
            f"{path} does not enable scim-bridge for every route: a suspended person gets in",
            "add `- name: scim-bridge` under `plugins` at the top of the file",
        )


def check_instances(instances: Sequence[Instance], report: Report) -> None:
    """Judge each plugin ``scim``: its configuration, its route and its secrets."""
    enabled = [each for each in instances if each.enabled]
    if not enabled:
        report.fail(
            "configuration",
            "There is no enabled plugin `scim`",
            "add it to the route of the identity provider (README.md, Enable it on a route); "
            "`kong-scim init` writes one",
        )
        return
    for each in enabled:
        _check_instance(each, report)
    tenants = [str(each.config.get("tenant") or "default") for each in enabled]
    report.ok("configuration", f"it is valid, of the tenants {', '.join(tenants)}")
    report.ok("service", "no route of the plugin scim has one")
    report.ok("secrets", "all are references, files or digests")


def _check_instance(instance: Instance, report: Report) -> None:
    config = dict(instance.config)
    tenant = config.get("tenant") or "default"
    try:
        parse(config)
    except ConfigurationError as error:
        report.fail(
            "configuration",
            f"The plugin scim of tenant {tenant} cannot work: {error}",
            "correct the field (docs/configuration.md)",
        )
    for field in secrets_in_clear(config):
        report.fail("secrets", f"Tenant {tenant}: {field} is a secret in clear", IN_CLEAR)
    if config.get("dry_run"):
        report.warn(
            "dry-run",
            f"Tenant {tenant}: config.dry_run is true, so that nothing changes",
            "turn it off when the provider shall really provision (docs/safety.md#dry-run)",
        )
    if instance.route is None:
        report.fail(
            "configuration",
            f"The plugin scim of tenant {tenant} is on no route, so it answers every request",
            "put it on the route of the identity provider",
        )
    if instance.service is not None:
        report.fail(
            "service",
            f"The SCIM route {instance.route} has the service {instance.service}: if the plugin "
            "fails, requests with tokens and personal data go there",
            "remove the service from the route",
        )


def _instances(declared: Mapping[str, Any]) -> Iterator[Instance]:
    routes: list[tuple[Any, str | None]] = [(route, None) for route in _list(declared, "routes")]
    for service in _list(declared, "services"):
        name = str(service.get("name") or service.get("url") or service.get("host"))
        routes += [(route, name) for route in _list(service, "routes")]
        yield from (_instance(plugin, None, name) for plugin in _scim(service))
    by_name: dict[str, str | None] = {}
    for route, owner in routes:
        label = str(route.get("name") or (route.get("paths") or ["?"])[0])
        service = owner or _name(route.get("service"))
        by_name[label] = service
        yield from (_instance(plugin, label, service) for plugin in _scim(route))
    for plugin in _scim(declared):
        named = _name(plugin.get("route"))
        yield _instance(plugin, named, by_name.get(str(named)) or _name(plugin.get("service")))


def _instance(plugin: Mapping[str, Any], route: str | None, service: str | None) -> Instance:
    config = plugin.get("config")
    return Instance(
        config if isinstance(config, dict) else {}, plugin.get("enabled", True), route, service
    )


def _scim(owner: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (plugin for plugin in _list(owner, "plugins") if plugin.get("name") == "scim")


def _is_guard(plugin: Mapping[str, Any]) -> bool:
    scoped = any(plugin.get(each) for each in ("route", "service", "consumer", "consumer_group"))
    return plugin.get("name") == "scim-bridge" and plugin.get("enabled", True) and not scoped


def _name(reference: Any) -> str | None:
    if isinstance(reference, dict):
        reference = reference.get("name") or reference.get("id")
    return str(reference) if reference else None


def _list(owner: Mapping[str, Any], name: str) -> list[Any]:
    found = owner.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
