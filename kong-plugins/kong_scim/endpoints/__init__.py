"""Answers the requests of the route that are not SCIM, in JSON of its own.

Each module of this package has the endpoints of one subject, as a table of :class:`.call.Endpoint`
by path; the docstring of the module says what each takes and answers. Here are two more:

``GET /jwks.json``
    The public keys of Security Event Tokens (RFC 7517), for anybody.
``GET /openapi.json``
    The description of all endpoints.
"""

from __future__ import annotations

from collections.abc import Mapping

from scim2_models import InvalidValueException
from scim2_server.responses import ScimResponse

from kong_scim.auth.scopes import require
from kong_scim.bridge import Request
from kong_scim.endpoints import (
    access_review,
    doctor,
    drift,
    events,
    mapping,
    overview,
    people,
    quarantine,
    requests,
)
from kong_scim.endpoints.call import Call, Endpoint, json_answer, require_method
from kong_scim.events.webhooks.formats import Issuer
from kong_scim.protocol.rights import DRY_RUN, asks_for_dry_run

KEYS = "/jwks.json"

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


def keys(request: Request, issuer: Issuer | None) -> ScimResponse:
    """Return the answer with the public keys, an empty set without an issuer."""
    require_method(request, "GET")
    return json_answer(issuer.keys() if issuer else {"keys": []})


def is_scim(request: Request) -> bool:
    """Tell whether a request is a SCIM request, and none for an endpoint of this package."""
    path = request.path.rstrip("/")
    return path != KEYS and path not in _ENDPOINTS


def answer(call: Call) -> ScimResponse | None:
    """Return the answer to a request, or None if it is a SCIM request.

    :raises ~scim2_models.SCIMException: For an invalid request, or a caller without the scope.
    """
    endpoint = _ENDPOINTS.get(call.request.path.rstrip("/"))
    if endpoint is None:
        return None
    if endpoint.scope is not None:
        require(call.identity, endpoint.scope)
    if call.request.method not in _READS and asks_for_dry_run(call.request.headers, call.identity):
        raise InvalidValueException(  # a refusal is safer than a write
            detail=f"This endpoint has no dry run: leave the header {DRY_RUN} out"
        )
    return endpoint.answer(call)


def _openapi(call: Call) -> ScimResponse:
    require_method(call.request, "GET")
    return json_answer(call.describe())


_ENDPOINTS: Mapping[str, Endpoint] = {
    "/openapi.json": Endpoint(None, _openapi),
    **drift.ENDPOINTS,
    **access_review.ENDPOINTS,
    **doctor.ENDPOINTS,
    **events.ENDPOINTS,
    **mapping.ENDPOINTS,
    **overview.ENDPOINTS,
    **people.ENDPOINTS,
    **quarantine.ENDPOINTS,
    **requests.ENDPOINTS,
}

__all__ = ["KEYS", "Call", "answer", "keys"]
