"""Scopes say what a caller may do. The table in docs/security.md says what each operation needs."""

from __future__ import annotations

from dataclasses import dataclass

from kong_scim.auth.errors import InsufficientScopeException

READ = "scim:read"
GROUPS = "scim:groups"
BULK = "scim:bulk"
EVENTS = "scim:events"
ADMIN = "scim:admin"

PROVISIONING = frozenset({READ, "scim:users", GROUPS, BULK})
"""The scopes of credentials that name none: all of SCIM, and no other endpoint."""

_WRITES = {"users": "scim:users", "groups": GROUPS}


@dataclass(frozen=True)
class Identity:
    """The caller of a request, as the authenticator found it."""

    token: str
    """The name of the credentials in logs and in the audit trail. It contains no secret."""

    scopes: frozenset[str] = PROVISIONING


def require(identity: Identity, scope: str, *others: str) -> None:
    """Refuse a caller who has none of these scopes; ``scim:admin`` includes all scopes.

    :raises InsufficientScopeException: It names the first scope.
    """
    if identity.scopes.isdisjoint({scope, *others, ADMIN}):
        raise InsufficientScopeException(scope)


def require_on_resources(identity: Identity, endpoint: str, *, writes: bool) -> None:
    """Refuse a caller who may not read, or not write, the resources of an endpoint such as
    ``Users``.

    The right to write includes the right to read, since a provider looks up what it changes.

    :raises InsufficientScopeException: It names the missing scope.
    """
    own = _WRITES.get(endpoint.strip("/").casefold(), ADMIN)
    if writes:
        require(identity, own)
    else:
        require(identity, READ, own)
