"""The errors of this service beyond those of scim2-models, and a limit on how much an error
says."""

from __future__ import annotations

import re
from http import HTTPStatus

from scim2_models import Error, SCIMException
from scim2_server.responses import ScimResponse

MAX_DETAIL = 400
"""Characters of an error's detail."""

MAX_QUOTED = 100
"""Characters of a quotation in a detail, or of one word."""

_SENT = re.compile(r"""(?<!\w)'[^']*'(?!\w)|(?<!\w)"[^"]*"(?!\w)|\S{101,}""")
"""What the client sent, by all signs: a quotation, or a long word."""


class ServiceUnavailableException(SCIMException):
    """Nothing is wrong with the request; it may be sent again (503 with Retry-After).

    :param retry_after: In seconds, or None where trying again alone will not help.
    """

    status = 503
    _default_detail = "The service is not available at this moment"

    def __init__(self, *, detail: str, retry_after: int | None = 1) -> None:
        self.retry_after = retry_after
        super().__init__(detail=detail)


def error_response(exception: SCIMException) -> ScimResponse:
    """Return the answer to a request that failed before there is a service to ask."""
    error = bounded(exception.to_error())
    return ScimResponse(HTTPStatus(exception.status), error.model_dump())


def bounded(error: Error) -> Error:
    """Return an error whose detail repeats only a little of what the client sent."""
    if error.detail is None:
        return error
    detail = _SENT.sub(_shortened, error.detail)
    if len(detail) > MAX_DETAIL:
        detail = detail[: MAX_DETAIL - 1] + "…"
    return error.model_copy(update={"detail": detail})


def _shortened(found: re.Match[str]) -> str:
    text = found.group()
    quote = text[0] if text[0] in "'\"" else ""
    if len(text) <= MAX_QUOTED + 2 * len(quote):
        return text
    return f"{text[:MAX_QUOTED]}…{quote}"
