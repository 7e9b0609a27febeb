"""What a failure of the gateway is in SCIM's terms: the one place that translates them."""

from __future__ import annotations

from scim2_models import NotImplementedException, PayloadTooLargeException, SCIMException

from kong_scim.bridge import BridgeError, BridgeUnavailableError
from kong_scim.cpu import CpuSpentError
from kong_scim.dbless.local_store import StoreError
from kong_scim.pluginserver.event import KongGoneError
from kong_scim.protocol.errors import ServiceUnavailableException
from kong_scim.tenant import NoDataError


def scim_error_of(exception: Exception) -> SCIMException | None:
    """Return the SCIM error of a failure of the gateway, or None for a defect of ours."""
    if isinstance(exception, BridgeUnavailableError | NoDataError | StoreError):
        return ServiceUnavailableException(detail=str(exception), retry_after=None)
    if isinstance(exception, KongGoneError):  # nobody reads it; the server has a line of it
        return ServiceUnavailableException(detail="Kong gave the request up")
    if isinstance(exception, CpuSpentError):
        return PayloadTooLargeException(
            detail=f"The request took more than {exception.seconds:g} s of a processor and was "
            "stopped; nothing of it was written. Send less at once, or narrow the filter"
        )
    if not isinstance(exception, BridgeError):
        return None
    if exception.name == "TIMEOUT":
        return ServiceUnavailableException(
            detail="A statement took too long in the gateway's database and was stopped "
            "(config.limits.statement_seconds); nothing was written. Send less at once, or this "
            "again when others are done",
            retry_after=5,
        )
    if exception.name == "DATABASE":
        return ServiceUnavailableException(
            # Not that nothing was written: a connection may break while COMMIT is under way.
            detail="The gateway's database does not answer; read what you wrote before you write "
            "it again",
            retry_after=5,
        )
    if exception.name == "CONFLICT":
        return ServiceUnavailableException(
            detail="Too many changes at once; nothing was written, send the request again"
        )
    if exception.name == "MARK":
        return ServiceUnavailableException(
            detail="The gateway was started or configured anew and is being given its consumers "
            "again; nothing was written, send the request again",
            retry_after=2,
        )
    if exception.name == "PENDING":
        return ServiceUnavailableException(
            detail="The change is stored, but the gateway has not taken it into its memory yet; it "
            "is given it again every second. Read what you wrote before you write it again",
            retry_after=2,
        )
    if exception.name == "READ_ONLY":
        return NotImplementedException(detail=exception.message)
    return None
