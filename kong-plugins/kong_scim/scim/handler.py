"""Serves SCIM requests: calls the steps of the service and the storage in turn."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

from scim2_models import BulkOperation, PatchOp, Resource, ResourceType
from scim2_server.conditions import Conditions
from scim2_server.errors import MethodNotAllowedException
from scim2_server.handler import ScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse

from kong_scim.directory.ports import Conflict
from kong_scim.scim.errors import ServiceUnavailableException

ATTEMPTS = 16
"""How often a write is tried that others keep overtaking."""

FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.25
"""Bounds of the pause between attempts, in seconds; it doubles, and is a random part of that."""

T = TypeVar("T")


class KongScimHandler(ScimHandler):
    """scim2-server's handler for a storage that many write to at once."""

    def handle(self, request: ScimRequest) -> ScimResponse:
        """Serve a request; HEAD is a GET whose body the gateway leaves out (RFC 9110 §9.3.2)."""
        if request.method == "OPTIONS":
            return self.options(request)
        if request.method == "HEAD":
            request = replace(request, method="GET")
        serve = super().handle
        return _retried(lambda: serve(request))

    def options(self, request: ScimRequest) -> ScimResponse:
        """Answer with the methods of an endpoint (RFC 9110 §9.3.7).

        :raises ~scim2_models.NotFoundException: When there is no such endpoint.
        """
        allowed: list[str] = []
        try:
            self.service.match(request)
        except MethodNotAllowedException as exception:
            allowed = exception.allowed
        return ScimResponse(HTTPStatus.NO_CONTENT, None, {"Allow": ", ".join(allowed)})

    def patch_resource(
        self,
        resource_type: ResourceType,
        resource_id: str,
        patch_op: PatchOp[Any],
        conditions: Conditions,
    ) -> Resource[Any]:
        """Apply a PATCH; one that only adds and removes members never reads the others."""
        return super().patch_resource(resource_type, resource_id, patch_op, conditions)

    def apply_bulk_operation(
        self, resource_type: ResourceType, operation: BulkOperation[Resource[Any]]
    ) -> Resource[Any] | None:
        """Apply one operation of a bulk request, in a commit of its own."""

        apply = super().apply_bulk_operation
        # A PUT writes what it keeps into its data: each attempt starts from what was sent.
        return _retried(lambda: apply(resource_type, operation.model_copy(deep=True)))


def _retried(attempt: Callable[[], T]) -> T:
    """Run a request again from its first read when others wrote between that and its commit.

    With If-Match the next attempt finds the other version, and answers 412 (RFC 7644 §3.14).

    :raises ServiceUnavailableException: When it keeps being overtaken.
    """
    pause = FIRST_PAUSE
    for _ in range(ATTEMPTS):
        try:
            return attempt()
        except Conflict:
            time.sleep(random.uniform(0, pause))  # noqa: S311 - spreads contenders, no secret
            pause = min(2 * pause, LONGEST_PAUSE)
    raise ServiceUnavailableException(
        detail="Others keep changing the same resource; nothing was written, send the request again"
    )
