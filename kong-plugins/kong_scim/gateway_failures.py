"""Translates failures of the gateway to SCIM errors; no other module does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scim2_models import NotImplementedException, PayloadTooLargeException, SCIMException

from kong_scim.bridge import (
    BridgeUnavailableError,
    ControlPlaneAwayError,
    DatabaseDownError,
    EpochChangedError,
    NotAppliedYetError,
    ReadOnlyError,
    StatementTimeoutError,
    TransactionConflictError,
)
from kong_scim.cpu import CpuSpentError
from kong_scim.dbless.local_store import StoreError
from kong_scim.pluginserver.event import KongGoneError
from kong_scim.protocol.errors import ServiceUnavailableException
from kong_scim.tenant import NoDataError


def _unavailable(
    detail: str | None = None, retry_after: int | None = 1
) -> Callable[[Exception], SCIMException]:
    """Return a function that makes a 503 from an exception.

    :param detail: The sentence of the answer; None for the exception's own text.
    :param retry_after: Seconds, or None for no Retry-After.
    """
    return lambda exception: ServiceUnavailableException(
        detail=detail or str(exception), retry_after=retry_after
    )


def _too_much(exception: Any) -> SCIMException:
    return PayloadTooLargeException(
        detail=f"The request took more than {exception.seconds:g} s of a processor and was "
        "stopped; nothing of it was written. Send less at once, or narrow the filter"
    )


_TRANSLATIONS: dict[type[Exception], Callable[[Exception], SCIMException]] = {
    BridgeUnavailableError: _unavailable(retry_after=None),
    NoDataError: _unavailable(retry_after=None),
    StoreError: _unavailable(retry_after=None),
    # Nobody reads this answer, because Kong no longer waits for it.
    KongGoneError: _unavailable("Kong gave the request up"),
    CpuSpentError: _too_much,
    StatementTimeoutError: _unavailable(
        "A statement took too long in the gateway's database and was stopped "
        "(config.limits.statement_seconds); nothing was written. Send less at once, or this "
        "again when others are done",
        5,
    ),
    # This does not promise that nothing was written: the connection may break during a COMMIT.
    DatabaseDownError: _unavailable(
        "The gateway's database does not answer; read what you wrote before you write it again", 5
    ),
    ControlPlaneAwayError: lambda exception: ServiceUnavailableException(
        detail=f"{exception}; nothing was written, send the request again", retry_after=5
    ),
    TransactionConflictError: _unavailable(
        "Too many changes at once; nothing was written, send the request again"
    ),
    EpochChangedError: _unavailable(
        "The gateway was started or configured anew and is being given its consumers again; "
        "nothing was written, send the request again",
        2,
    ),
    NotAppliedYetError: _unavailable(
        "The change is stored, but the gateway has not taken it into its memory yet; it is given "
        "it again every second. Read what you wrote before you write it again",
        2,
    ),
    ReadOnlyError: lambda exception: NotImplementedException(detail=str(exception)),
}


def scim_error_of(exception: Exception) -> SCIMException | None:
    """Return the SCIM error for a failure of the gateway, or None for any other exception."""
    for kind in type(exception).__mro__:
        if kind in _TRANSLATIONS:
            return _TRANSLATIONS[kind](exception)
    return None
