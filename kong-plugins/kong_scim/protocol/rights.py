"""Checks a caller's scopes against an operation of scim2-server, or for a dry run."""

from __future__ import annotations

from collections.abc import Mapping

from scim2_models import ForbiddenException, InvalidValueException
from scim2_server.errors import MethodNotAllowedException
from scim2_server.routing import Operation, Target

from kong_scim.auth.scopes import ADMIN, EVENTS, Identity, require, require_on_resources

DRY_RUN = "Kong-SCIM-Dry-Run"
"""The header that every answer of a dry run has. A request with it is a dry run by itself."""

_WRITING = frozenset({Operation.create, Operation.replace, Operation.patch, Operation.delete})


def authorize(identity: Identity, target: Target, *, name: str, endpoint: str) -> None:
    """Check the caller's scopes for an operation, also for each one of a bulk request.

    Nobody may write events, and a search of all resource types does not find them.

    :param name: The name of the resource type.
    :param endpoint: The endpoint of the resource type.
    :raises ~kong_scim.auth.errors.InsufficientScopeException: It names the missing scope.
    :raises MethodNotAllowedException: For a write of an event.
    :raises ~scim2_models.ForbiddenException: For events in a search at the root, which then leaves
        them out.
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


def asks_for_dry_run(headers: Mapping[str, str], identity: Identity) -> bool:
    """Tell whether a request is to be a dry run by itself, which only an administrator may ask for.

    :param headers: By their names in lower case.
    :raises ~kong_scim.auth.errors.InsufficientScopeException: Without ``scim:admin``. A refusal is
        safer than a write.
    :raises ~scim2_models.InvalidValueException: The header is neither ``true`` nor ``false``.
    """
    asked = headers.get(DRY_RUN.lower(), "false").strip().lower()
    if asked not in {"true", "false"}:
        raise InvalidValueException(detail=f"The header {DRY_RUN} is `true` or `false`")
    if asked == "true":
        require(identity, ADMIN)
    return asked == "true"
