"""What the route serves beside SCIM resources, in JSON of its own.

``GET /Events/chain``: the ends of the audit trail, against which it is verified.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from scim2_server.errors import MethodNotAllowedException
from scim2_server.responses import ScimResponse

from kong_scim.access.scopes import EVENTS, Identity, require
from kong_scim.lifecycle.trail import Trail

CHAIN = "/Events/chain"


class Endpoints:
    """Answers requests that are no SCIM requests.

    :param trail: Returns the tenant's audit trail.
    """

    def __init__(self, trail: Callable[[], Trail]) -> None:
        self._trail = trail

    def answer(self, method: str, path: str, identity: Identity) -> ScimResponse | None:
        """Return the answer to a request, or None where it is one for SCIM.

        :param path: Below the route's prefix, as the client sent it.
        :raises MethodNotAllowedException: For another method than the endpoint's.
        :raises ~kong_scim.access.refusals.InsufficientScopeException: Naming the missing scope.
        """
        if path.rstrip("/") != CHAIN:
            return None
        require(identity, EVENTS)
        if method not in {"GET", "HEAD"}:
            raise MethodNotAllowedException(
                detail="This endpoint takes GET only", allowed=["GET", "HEAD"]
            )
        return ScimResponse(
            HTTPStatus.OK, self._trail().chain().to_json(), {"Content-Type": "application/json"}
        )
