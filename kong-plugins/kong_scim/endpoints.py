"""What the route serves beside SCIM resources, in JSON of its own.

``GET /jwks.json``
    The public key of Security Event Tokens (RFC 7517), for anybody.
``GET /Events/chain``
    The ends of the audit trail, against which it is verified.
``GET /Events/deliveries?state=dead&after=0&count=100``
    What was to be sent to webhooks, in order, with every attempt: ``{"deliveries": [...]}``.
``POST /Events/deliveries/replay`` with ``{"ids": [1, 2]}`` or ``{"failed": true}``
    Sends again what was delivered or given up: ``{"replayed": 2}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from scim2_models import InvalidSyntaxException, InvalidValueException
from scim2_server.errors import MethodNotAllowedException
from scim2_server.responses import ScimResponse

from kong_scim.bridge import Request
from kong_scim.lifecycle.deliveries import STATES, Deliveries
from kong_scim.lifecycle.messages import Issuer
from kong_scim.lifecycle.trail import Trail

KEYS = "/jwks.json"
MOST = 200
"""Deliveries of one answer."""


def keys(request: Request, issuer: Issuer | None) -> ScimResponse:
    """Answer with the keys; an empty set where there are none."""
    _only(request, "GET")
    return _json(issuer.keys() if issuer else {"keys": []})


class Endpoints:
    """Answers requests that are no SCIM requests.

    :param trail: Returns the tenant's audit trail.
    :param deliveries: Returns the tenant's deliveries.
    """

    def __init__(self, trail: Callable[[], Trail], deliveries: Callable[[], Deliveries]) -> None:
        self._trail = trail
        self._deliveries = deliveries
        self._answers: Mapping[str, Callable[[Request], ScimResponse]] = {
            "/Events/chain": self._chain,
            "/Events/deliveries": self._listed,
            "/Events/deliveries/replay": self._replay,
        }

    def answer(self, request: Request) -> ScimResponse | None:
        """Return the answer to a request, or None where it is one for SCIM.

        :raises ~scim2_models.SCIMException: For a request that is wrong.
        """
        found = self._answers.get(request.path.rstrip("/"))
        return found(request) if found else None

    def _chain(self, request: Request) -> ScimResponse:
        _only(request, "GET")
        return _json(self._trail().chain().to_json())

    def _listed(self, request: Request) -> ScimResponse:
        _only(request, "GET")
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        state = query.get("state")
        if state is not None and state not in STATES:
            raise InvalidValueException(detail=f"state is one of {', '.join(STATES)}")
        after, count = (
            _number(query, name, default) for name, default in (("after", 0), ("count", MOST))
        )
        page = self._deliveries().page(state=state, after=after, limit=min(count, MOST))
        return _json({"deliveries": page})

    def _replay(self, request: Request) -> ScimResponse:
        _only(request, "POST")
        try:
            asked = json.loads(request.body)
        except (ValueError, RecursionError):
            raise InvalidSyntaxException(detail="The body must be a JSON object") from None
        ids = asked.get("ids") if isinstance(asked, dict) else None
        failed = isinstance(asked, dict) and asked.get("failed") is True
        whole = isinstance(ids, list) and all(
            type(each) is int and 0 < each < 2**53 for each in ids
        )
        if failed == whole or (whole and len(ids or []) > 1000):
            raise InvalidValueException(
                detail='Say which: {"ids": [1, 2]}, at most 1000, or {"failed": true}'
            )
        count = self._deliveries().replay(None if failed else ids, datetime.now(UTC))
        return _json({"replayed": count})


def _only(request: Request, method: str) -> None:
    allowed = ["GET", "HEAD"] if method == "GET" else [method]
    if request.method not in allowed:
        raise MethodNotAllowedException(
            detail=f"This endpoint takes {method} only", allowed=allowed
        )


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidValueException(detail=f"{name} must be a number")
    return int(text)


def _json(body: dict[str, Any]) -> ScimResponse:
    return ScimResponse(HTTPStatus.OK, body, {"Content-Type": "application/json"})
