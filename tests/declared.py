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
        "reconcile": {"every": 0},  # many change Kong by hand, and expect no event of it
    }
    return {"name": "scim", "config": {**defaults, **config}}


def _with_session(storage: str) -> dict[str, Any]:
    config = {
        "secret": "a secret of the session plugin",
        "storage": storage,
        "cookie_name": storage,
        "cookie_secure": False,
    }
    session = {"name": "session", "config": config}
    key = {"name": "key-auth", "config": {"anonymous": "anonymous"}}
    name = f"session-{storage}"
    return {"name": name, "paths": [f"/{name}"], "plugins": [session, key]}


def declaration(
    upstream: str,
    access_log: Path,
    directory_port: int = 389,
    *,
    in_front: Sequence[dict[str, Any]] = (),
    bridge: Mapping[str, Any] | None = None,
    **config: Any,
) -> dict[str, Any]:
    """Return the declarative content of every host.

    :param upstream: The URL behind the API.
    :param access_log: Where file-log writes what becomes of calls of the API.
    :param directory_port: Where the company's directory listens, for ldap-auth.
    :param bridge: The configuration of scim-bridge, which is global.
    :param in_front: Plugins beside ``scim`` on the route of tenant ``a``.
    :param config: Of the plugin ``scim`` of tenant ``a``, beside its token.
    """
    ldap = {
        "name": "ldap-auth",
        "config": {
            "ldap_host": "127.0.0.1",
            "ldap_port": directory_port,
            "base_dn": "ou=people,dc=example",
            "attribute": "uid",
        },
    }
    strict = {"name": "scim-bridge", "config": {"unknown_logins": "refuse"}}
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
                    # A login that says a name, and brings no consumer.
                    {"name": "ldap", "paths": ["/ldap"], "plugins": [ldap]},
                    {"name": "strict-ldap", "paths": ["/strict-ldap"], "plugins": [ldap, strict]},
                    # Who came once with a key needs only the cookie from then on.
                    _with_session("cookie"),
                    _with_session("kong"),
                ],
            }
        ],
    }
