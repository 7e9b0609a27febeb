"""What an endpoint that is not SCIM is given, and how its request is read and answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from scim2_models import InvalidSyntaxException, InvalidValueException
from scim2_server.errors import MethodNotAllowedException
from scim2_server.responses import ScimResponse

from kong_scim.auth.scopes import Identity
from kong_scim.bridge import Request
from kong_scim.events.outbox import Origin
from kong_scim.events.webhooks.formats import Issuer
from kong_scim.tenant import Provisioning


@dataclass(frozen=True)
class Call:
    """One request to an endpoint, with all that an answer may need.

    :param origin: Who sent the request, for the event of a change.
    :param callers: Returns the credentials and their last uses.
    :param describe: Returns the OpenAPI description.
    :param issuer: Signs with the tenant's key; None without one.
    :param audience: The claim ``aud`` of the tokens for a receiver that polls.
    :param secrets_in_clear: The fields of the configuration with a secret that is no reference.
    """

    request: Request
    identity: Identity
    origin: Origin
    provisioning: Provisioning
    callers: Callable[[], list[dict[str, Any]]]
    describe: Callable[[], dict[str, Any]]
    issuer: Issuer | None
    audience: str
    secrets_in_clear: Sequence[str] = ()


@dataclass(frozen=True)
class Endpoint:
    """One path: the scope that its caller needs (None: any), and the function that answers."""

    scope: str | None
    answer: Callable[[Call], ScimResponse]


def json_answer(body: dict[str, Any]) -> ScimResponse:
    """Return the answer 200 with this body."""
    return ScimResponse(HTTPStatus.OK, body, {"Content-Type": "application/json"})


def require_method(request: Request, method: str, also: Sequence[str] = ()) -> None:
    """Refuse any other method; an endpoint that takes GET takes HEAD.

    :raises ~scim2_server.errors.MethodNotAllowedException: It names the methods.
    """
    allowed = [*also, *(["GET", "HEAD"] if method == "GET" else [method])]
    if request.method not in allowed:
        named = " and ".join([*also[:1], method])
        raise MethodNotAllowedException(detail=f"This endpoint takes {named} only", allowed=allowed)


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a request's body, an empty one for an empty body.

    :raises ~scim2_models.InvalidSyntaxException: The body is something else.
    """
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidSyntaxException(detail="The body must be a JSON object")
    return found


def query_of(request: Request) -> dict[str, str]:
    """Return the parameters of the query; of one that is given twice, the last value."""
    return {name: values[-1] for name, values in parse_qs(request.query).items()}


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a parameter that is a whole number, 0 or more.

    :raises ~scim2_models.InvalidValueException: It is something else.
    """
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidValueException(detail=f"{name} must be a number")
    return int(text)


def page_size(query: Mapping[str, str], usual: int, most: int) -> int:
    """Return the parameter ``count``, brought between 1 and the most that a page has.

    :raises ~scim2_models.InvalidValueException: It is no number.
    """
    return max(1, min(number(query, "count", usual), most))
