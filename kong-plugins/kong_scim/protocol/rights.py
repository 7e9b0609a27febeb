"""Checks a caller's scopes against an operation of scim2-server."""

from __future__ import annotations

from scim2_models import ForbiddenException
from scim2_server.errors import MethodNotAllowedException
from scim2_server.routing import Operation, Target

from kong_scim.auth.scopes import EVENTS, Identity, require, require_on_resources

_WRITING = frozenset({Operation.create, Operation.replace, Operation.patch, Operation.delete})


def authorize(identity: Identity, target: Target, *, name: str, endpoint: str) -> None:
    """Hold an operation against the caller's scopes, each one of a bulk request as well.

    The audit trail is kept from being written, and out of a search of everything.

    :param name: Of the resource type.
    :param endpoint: Of the resource type.
    :raises ~kong_scim.auth.errors.InsufficientScopeException: Naming the missing scope.
    :raises MethodNotAllowedException: For a write of an event.
    :raises ~scim2_models.ForbiddenException: At the root, whose search leaves events out then.
    """
    writes = target.operation in _WRITING
    if name != "Event":
        require_on_resources(identity, endpoint, writes=writes)
        return
    if target.endpoint is None:
        raise ForbiddenException(detail="Events are found at /Events alone")
    require(identity, EVENTS)
    if writes:
        raise MethodNotAllowedException(
            detail="The audit trail is read only", allowed=["GET", "HEAD", "OPTIONS"]
        )
