"""The answers that the server gives itself, where the plugin cannot."""

from __future__ import annotations

import json
from typing import Any

RETURN = "ret"
"""Ends an event: Kong goes on with the request."""

CLIENT_PHASES = frozenset({"rewrite", "access", "response"})
"""Phases in which a client waits and ``kong.response.exit`` is allowed (kong/pdk/response.lua)."""


def refusal(
    phase: str, status: int, detail: str, *, retry_after: int | None = None
) -> dict[str, Any] | str:
    """Return what ends an event that the plugin cannot serve.

    A terminal ``kong.response.exit`` with a SCIM error (RFC 7644 §3.12) where a client waits: a
    mere return would let Kong go on with the request as if the plugin had agreed.

    :param retry_after: In seconds, for the client.
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
