"""The errors of this service beyond those of scim2-models, and a limit on how much an error
says."""

from __future__ import annotations

import re
from http import HTTPStatus

from scim2_models import Error, SCIMException
from scim2_server.responses import ScimResponse

MAX_DETAIL = 400
"""Characters that an error's detail may have."""

MAX_QUOTED = 100
"""Characters that a quotation in a detail, or one word, may have."""

_SENT = re.compile(r"""(?<!\w)'[^']*'(?!\w)|(?<!\w)"[^"]*"(?!\w)|\S{101,}""")
"""The parts of a detail that the client probably sent: quotations and long words."""


class ServiceUnavailableException(SCIMException):
    """The service cannot answer now, and the request is valid (503).

    :param retry_after: Seconds for the header Retry-After, or None if a retry would not help.
    """

    status = 503
    _default_detail = "The service is not available at this moment"

    def __init__(self, *, detail: str, retry_after: int | None = 1) -> None:
        self.retry_after = retry_after
        super().__init__(detail=detail)


def error_response(exception: SCIMException) -> ScimResponse:
    """Return the answer to a request that failed before there is a service that can answer."""
    error = bounded(exception.to_error())
    return ScimResponse(HTTPStatus(exception.status), error.model_dump())


def bounded(error: Error) -> Error:
    """Return an error with a short detail, in which parts that the client sent are cut."""
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
