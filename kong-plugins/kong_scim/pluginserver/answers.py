"""The answers that the server gives itself, where the plugin cannot."""

from __future__ import annotations

import json
from typing import Any

RETURN = "ret"
"""The answer that ends an event, so that Kong goes on with the request."""

CLIENT_PHASES = frozenset({"rewrite", "access", "response"})
"""The phases in which a client waits and ``kong.response.exit`` is allowed
(kong/pdk/response.lua)."""


def refusal(
    phase: str, status: int, detail: str, *, retry_after: int | None = None
) -> dict[str, Any] | str:
    """Return the answer that ends an event which the plugin cannot serve.

    In a phase in which a client waits, it is ``kong.response.exit`` with a SCIM error (RFC 7644
    §3.12). With a mere return, Kong would pass the request on as if the plugin had allowed it.

    :param retry_after: Seconds for the header Retry-After, or None.
    """
    if phase not in CLIENT_PHASES:
        return RETURN
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(status),
        "detail": detail,
    }
    headers = {"Content-Type": "application/scim+json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return {"Method": "kong.response.exit", "Args": [status, json.dumps(body), headers]}
