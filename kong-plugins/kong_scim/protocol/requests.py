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
"""Query parameters that one request may have."""

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
    """Return a SCIM request with decoded path and query.

    :param path: The path below ``base_url``, percent-encoded as the client sent it.
    :param query: The raw query string.
    :param subject: The caller.
    :raises NotFoundException: When a segment of the path cannot be an id.
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

    :raises NotFoundException: When a segment has an encoded slash, which must not lead to another
        route (RFC 3986 §2.2), is no UTF-8, or has a control character.
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
    """Return the query parameters by their names.

    Both ``+`` and ``%20`` are spaces, since Entra sends either
    (docs/providers/traffic.md#spaces-as-plus). Names may be of any case. The lists of a repeated
    ``attributes`` or ``excludedAttributes`` are joined; for other parameters the last value counts.

    :raises InvalidSyntaxException: When the query is no UTF-8, or has too many parameters.
    :raises InvalidValueException: When a value has a control character.
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
    for sent_name, value in pairs:
        name = _PARAMETERS.get(sent_name.lower(), sent_name)
        try:
            check_text(value)
        except InvalidValueException as error:
            raise InvalidValueException(detail=f"{shown(name)}: {error.detail}") from None
        together = name in _LISTS and parameters.get(name)
        parameters[name] = f"{parameters[name]},{value}" if together else value
    return parameters
