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
"""What credentials without scopes of their own may do: all of SCIM, and nothing beside it."""

_WRITES = {"users": "scim:users", "groups": GROUPS}


@dataclass(frozen=True)
class Identity:
    """The caller of a request, as the authenticator found it."""

    token: str
    """What logs and the audit trail call the credentials; safe to log."""

    scopes: frozenset[str] = PROVISIONING


def require(identity: Identity, scope: str, *others: str) -> None:
    """Refuse who has none of these scopes; ``scim:admin`` holds them all.

    :raises InsufficientScopeException: Naming the first.
    """
    if identity.scopes.isdisjoint({scope, *others, ADMIN}):
        raise InsufficientScopeException(scope)


def require_on_resources(identity: Identity, endpoint: str, *, writes: bool) -> None:
    """Refuse who may not read, or not change, the resources of an endpoint such as ``Users``.

    Who may change them may read them: a provider looks up what it changes.

    :raises InsufficientScopeException: Naming the scope that is missing.
    """
    own = _WRITES.get(endpoint.strip("/").casefold(), ADMIN)
    if writes:
        require(identity, own)
    else:
        require(identity, READ, own)
