"""The declarative content of every host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GROUP = "employees"
"""The ACL group that may use the API at ``/echo``."""


def scim_plugin(tenant: str, reference: str, /, **config: Any) -> dict[str, Any]:
    """Return the plugin ``scim`` as it stands in a declarative file."""
    defaults = {
        "tenant": tenant,
        "require_https": False,
        "tokens": [
            {
                "name": "idp",
                "value": f"{{vault://env/{reference}}}",
                "scopes": [
                    "scim:read",
                    "scim:users",
                    "scim:groups",
                    "scim:bulk",
                    "scim:events",
                    "scim:admin",
                ],
            }
        ],
        "limits": {"failed_attempts": 0},  # all tests come from one address
        "quarantine": {"enabled": False},  # most delete everybody before they begin
    }
    return {"name": "scim", "config": {**defaults, **config}}


def declaration(
    upstream: str,
    access_log: Path,
    *,
    in_front: Sequence[dict[str, Any]] = (),
    bridge: Mapping[str, Any] | None = None,
    **config: Any,
) -> dict[str, Any]:
    """Return the declarative content of every host.

    :param upstream: The URL behind the API.
    :param access_log: Where file-log writes what becomes of calls of the API.
    :param bridge: The configuration of scim-bridge, which is global.
    :param in_front: Plugins beside ``scim`` on the route of tenant ``a``.
    :param config: Of the plugin ``scim`` of tenant ``a``, beside its token.
    """
    acl = {"name": "acl", "config": {"allow": [GROUP]}}
    return {
        "_format_version": "3.0",
        "plugins": [
            {"name": "scim-bridge", **({"config": dict(bridge)} if bridge else {})},
            {"name": "prometheus"},
        ],
        "routes": [
            {
                "name": "scim-a",
                "paths": ["/scim/v2"],
                "plugins": [*in_front, scim_plugin("a", "scim-token-a", **config)],
            },
            {
                "name": "scim-b",
                "paths": ["/other/scim/v2"],
                "plugins": [scim_plugin("b", "scim-token-b")],
            },
        ],
        "services": [
            {
                "name": "echo",
                "url": upstream,
                "plugins": [
                    {"name": "file-log", "config": {"path": str(access_log), "reopen": True}}
                ],
                "routes": [
                    {"name": "echo", "paths": ["/echo"], "plugins": [{"name": "key-auth"}, acl]},
                    # Behind no acl: what it answers is up to the credential and the guard alone.
                    {"name": "keyed", "paths": ["/keyed"], "plugins": [{"name": "key-auth"}]},
                ],
            }
        ],
    }
