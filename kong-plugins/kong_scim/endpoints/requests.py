"""The endpoint of the provider log.

``GET /Requests?failed=true&count=100&before=ID``
    The SCIM requests of the last days, the newest first: ``{"requests": [{"id", "at", "method",
    "path", "status", "milliseconds", "token", "provider", "error", "body"}], "next"}``. ``next`` is
    the ``before`` of the next page, or null. ``token`` is null for a caller who was not let in,
    ``error`` for a request that succeeded, and ``body`` unless ``requests.keep_bodies`` keeps it.
    Requests that other nodes answered within the last second may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping

from scim2_models import InvalidValueException
from scim2_server.responses import ScimResponse

from kong_scim.auth.scopes import ADMIN
from kong_scim.endpoints.call import (
    Call,
    Endpoint,
    json_answer,
    number,
    page_size,
    query_of,
    require_method,
)
from kong_scim.provider_log.log import PATIENCE, page, write_waiting

MOST = 200
"""Requests of one page at most."""

USUAL = 100


def _requests(call: Call) -> ScimResponse:
    require_method(call.request, "GET")
    query = query_of(call.request)
    failed = query.get("failed", "false")
    if failed not in {"true", "false"}:
        raise InvalidValueException(detail="failed is true or false")
    limit = page_size(query, USUAL, MOST)
    before = number(query, "before", 0) if "before" in query else None
    database = call.provisioning.database()
    if before is None:
        # So that the newest requests of this node are there.
        write_waiting(database, patience=PATIENCE)
    found = page(database, failed=failed == "true", before=before, limit=limit + 1)
    more = len(found) > limit
    return json_answer(
        {"requests": found[:limit], "next": found[limit - 1]["id"] if more else None}
    )


ENDPOINTS: Mapping[str, Endpoint] = {"/Requests": Endpoint(ADMIN, _requests)}
