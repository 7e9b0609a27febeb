"""What the route serves beside SCIM resources, in JSON of its own.

``GET /Events/chain``: the ends of the audit trail, against which it is verified.
``GET /openapi.json``: the description of all endpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from scim2_server.errors import MethodNotAllowedException
from scim2_server.responses import ScimResponse

from kong_scim.access.scopes import EVENTS, Identity, require
from kong_scim.lifecycle.trail import Trail

CHAIN = "/Events/chain"
OPENAPI = "/openapi.json"


class Endpoints:
    """Answers requests that are no SCIM requests.

    :param trail: Returns the tenant's audit trail.
    :param describe: Returns the OpenAPI description.
    """

    def __init__(self, trail: Callable[[], Trail], describe: Callable[[], dict[str, Any]]) -> None:
        self._trail = trail
        self._describe = describe

    def answer(self, method: str, path: str, identity: Identity) -> ScimResponse | None:
        """Return the answer to a request, or None where it is one for SCIM.

        :param path: Below the route's prefix, as the client sent it.
        :raises MethodNotAllowedException: For another method than the endpoint's.
        :raises ~kong_scim.access.refusals.InsufficientScopeException: Naming the missing scope.
        """
        path = path.rstrip("/")
        if path not in {CHAIN, OPENAPI}:
            return None
        if path == CHAIN:
            require(identity, EVENTS)
        if method not in {"GET", "HEAD"}:
            raise MethodNotAllowedException(
                detail="This endpoint takes GET only", allowed=["GET", "HEAD"]
            )
        body = self._trail().chain().to_json() if path == CHAIN else self._describe()
        return ScimResponse(HTTPStatus.OK, body, {"Content-Type": "application/json"})
