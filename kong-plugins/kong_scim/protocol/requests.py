"""Makes a SCIM request of an HTTP request of the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from scim2_models import InvalidSyntaxException, InvalidValueException, NotFoundException
from scim2_server.requests import ScimRequest
from scim2_server.service import SEARCH_REQUEST_PARAMETERS

from kong_scim.protocol.limits import CONTROL, check_text, shown

MAX_PARAMETERS = 100
"""Query parameters of one request."""

_PARAMETERS = {name.lower(): name for name in SEARCH_REQUEST_PARAMETERS}
_LISTS = ("attributes", "excludedAttributes")


def scim_request(
    *,
    method: str,
    base_url: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    subject: Any,
) -> ScimRequest:
    """Read a request.

    :param path: Below ``base_url``, percent-encoded as the client sent it.
    :param query: The raw query string.
    :raises NotFoundException: When a segment of the path cannot be the id of anything.
    :raises InvalidSyntaxException: When the query is not UTF-8.
    """
    return ScimRequest(
        method=method.upper(),
        base_url=base_url,
        path=decoded_path(path),
        query=decoded_query(query),
        headers=headers,
        body=body,
        subject=subject,
    )


def decoded_path(path: str) -> str:
    """Return a path without percent-encoding.

    A slash that comes out of a segment must not make another route of it (RFC 3986 §2.2), so such a
    path names nothing.

    :raises NotFoundException: Also where a segment is no UTF-8, or holds a control character.
    """
    segments = []
    for segment in path.split("/"):
        try:
            decoded = unquote_to_bytes(segment).decode()
        except UnicodeDecodeError:
            decoded = "\0"
        if "/" in decoded or CONTROL.search(decoded):
            raise NotFoundException(detail=f"No SCIM endpoint or resource at {shown(path)}")
        segments.append(decoded)
    return "/".join(segments)


def decoded_query(query: str) -> dict[str, str]:
    """Return the query parameters; ``+`` and ``%20`` are spaces.

    Entra sends either (docs/providers/traffic.md#spaces-as-plus).
    A list given twice is one list; of another parameter, the last counts. A name is matched without
    regard to case.

    :raises InvalidSyntaxException: When it is no UTF-8, or has too many parameters.
    :raises InvalidValueException: When a value holds a control character.
    """
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except UnicodeDecodeError:
        raise InvalidSyntaxException(
            detail="The query string is not percent-encoded UTF-8"
        ) from None
    except ValueError:
        raise InvalidSyntaxException(
            detail=f"The query string has more than {MAX_PARAMETERS} parameters"
        ) from None
    parameters: dict[str, str] = {}
    for given, value in pairs:
        name = _PARAMETERS.get(given.lower(), given)
        try:
            check_text(value)
        except InvalidValueException as error:
            raise InvalidValueException(detail=f"{shown(name)}: {error.detail}") from None
        together = name in _LISTS and parameters.get(name)
        parameters[name] = f"{parameters[name]},{value}" if together else value
    return parameters
