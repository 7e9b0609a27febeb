"""The errors of a caller who is not let in, with the statuses and challenges of RFC 6750 and RFC
6585.

A description goes into a header, and anybody may read it: it names no token, no value and no
address.
"""

from __future__ import annotations

from scim2_models import ForbiddenException, SCIMException, UnauthorizedException

SEND_A_TOKEN = "Send one of the bearer tokens of this endpoint: Authorization: Bearer <token>"  # noqa: S105


class InvalidTokenException(UnauthorizedException):
    """Credentials were sent, and they are not accepted (401, ``error="invalid_token"``).

    :param description: Why, for the challenge (RFC 6750 §3); of a token nobody knows, nothing.
    """

    def __init__(self, *, detail: str = SEND_A_TOKEN, description: str | None = None) -> None:
        self.description = description
        super().__init__(detail=detail)


class InsufficientScopeException(ForbiddenException):
    """The caller is known and may not do this (403, ``error="insufficient_scope"``).

    :param scope: The scope that is missing.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__(detail=f"This needs the scope {scope}, which the token does not have")


class WrongAddressException(ForbiddenException):
    """The token is right and does not count from where it came (403, with a bare challenge)."""

    def __init__(self) -> None:
        super().__init__(detail="This token is not accepted from the address the request came from")


class TooManyRequestsException(SCIMException):
    """Too many requests, or too many wrong credentials (429 with Retry-After, RFC 6585 §4).

    :param retry_after: In seconds.
    """

    status = 429
    _default_detail = "Too many requests"

    def __init__(self, *, detail: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(detail=detail)


class KeysUnavailableException(SCIMException):
    """The issuer's keys cannot be had at this moment, so a JWT cannot be judged (503)."""

    status = 503
    _default_detail = "The keys of the token's issuer cannot be fetched at this moment"

    def __init__(self, *, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(detail=self._default_detail)
