"""The tables of what administrators look at: quarantine, callers, drift and the provider log."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, literal_column

from kong_scim.directory.columns import index, key, metadata, scope, scope_key, serial, text

_QUARANTINE = {"migration": "004_quarantine"}
_NAMES = {"migration": "007_names"}
_DRIFT = {"migration": "008_drift"}
_REQUESTS = {"migration": "009_requests"}

# -- Quarantine -----------------------------------------------------------

# Each write of a deprovisioning locks the row of the tenant, so that the count is exact even if
# several nodes write at once.
quarantines = Table(
    "scim_quarantines",
    metadata,
    *scope_key(),
    # open, quarantined, approved or rejected, each until `until`, and open from then on.
    text("state"),
    # Deprovisionings up to this time do not count any more.
    text("until"),
    # When the quarantine began, why (a sentence), and the id of its event; empty without one.
    text("since"),
    text("reason"),
    text("event_id"),
    # The number of requests that were held back since then.
    Column("refused", BigInteger, nullable=False),
    # The time of the last decision, and the name of the token that made it.
    text("decided"),
    text("decided_by"),
    info=_QUARANTINE,
)

# There is one row per user, so that no user counts twice.
deprovisionings = Table(
    "scim_departures",
    metadata,
    *scope_key(),
    # No foreign key, because the user may be deleted.
    key("user_id"),
    # gone, or held if a request was refused
    text("state"),
    # deactivate or delete, whichever was requested last.
    text("operation"),
    text("at"),
    # The number of requests on this user that were held back.
    Column("refused", BigInteger, nullable=False),
    Index("scim_departures_order", "workspace", "tenant", "state", "at"),
    info=_QUARANTINE,
)

losses = Table(
    "scim_losses",
    metadata,
    key("id"),
    *scope(),
    # The resource that was written, such as a group. No foreign key, because it may be deleted.
    text("resource_id"),
    # gone, or held if a request was refused
    text("state"),
    # How many memberships of access groups the write removes.
    Column("memberships", BigInteger, nullable=False),
    text("at"),
    Index("scim_losses_order", "workspace", "tenant", "state", "at"),
    info=_NAMES,
)

# -- Callers ----------------------------------------------------------

callers = Table(
    "scim_callers",
    metadata,
    *scope_key(),
    # The name of the credentials in logs: a token's name, or ``jwt:`` or ``kong:`` and a name.
    key("name"),
    # Empty if they were not used yet.
    text("last_used"),
    # The expiry of which an event warned; empty if none did.
    text("warned"),
    info={"migration": "005_callers"},
)

# -- Drift ----------------------------------------------------------------

# The differences that are known, for the moment since which each is there.
drifts = Table(
    "scim_drifts",
    metadata,
    *scope_key(),
    # No foreign key, because the user of an orphaned consumer is gone.
    key("user_id"),
    key("kind"),
    # When it was found first, and the begin of the last pass that found it.
    text("since"),
    text("seen"),
    info=_DRIFT,
)

# The pass over all users of a tenant that runs, or ran last. One node at a time has the lease.
drift_passes = Table(
    "scim_drift_passes",
    metadata,
    *scope_key(),
    # The digest of the mapping with which the last pass began.
    text("mapping"),
    # When the pass that runs began; empty for none.
    text("begun"),
    # JSON: how far it is (kong_scim/sync/drift_pass.py).
    text("progress"),
    # The node that runs it, and until when other nodes leave it alone.
    text("node"),
    text("leased"),
    # The end of the last complete pass, and JSON about it; empty for none.
    text("ended"),
    text("last"),
    info=_DRIFT,
)

# -- Provider log ---------------------------------------------------------

requests = Table(
    "scim_requests",
    metadata,
    # In the order in which they were written, which is about that of their time.
    serial("number"),
    *scope(),
    text("at"),
    text("method"),
    text("path"),
    Column("status", Integer, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    # Empty if there is none, as the columns below.
    text("token"),
    text("provider"),
    # The sentence of the error.
    text("error"),
    text("body"),
    Index("scim_requests_order", "workspace", "tenant", "number"),
    info=_REQUESTS,
    sqlite_autoincrement=True,
)
_FAILED = requests.c.status >= literal_column("400")
index("scim_requests_failed", requests, ["workspace", "tenant", "number"], _FAILED)

request_hours = Table(
    "scim_request_hours",
    metadata,
    *scope_key(),
    # The beginning of a date, such as 2026-01-31T09.
    key("hour"),
    # How many requests were answered in this hour, and how many of them with an error.
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    info=_REQUESTS,
)
