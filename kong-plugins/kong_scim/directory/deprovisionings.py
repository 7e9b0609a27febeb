"""The tables that the deprovisioning guard counts in: who left a tenant lately.

One row per user, so that nobody counts twice. The row of the tenant is locked by whatever writes a
departure, so that the count is exact however many do at once, on whichever node.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table

from kong_scim.directory.tables import TEXT, metadata

_FOURTH = {"migration": "004_quarantine"}

quarantines = Table(
    "scim_quarantines",
    metadata,
    Column("workspace", TEXT, primary_key=True),
    Column("tenant", TEXT, primary_key=True),
    # open, quarantined, approved or rejected: until the moment `until`, and open from then on.
    Column("state", TEXT, nullable=False),
    # Departures up to this moment do not count any more.
    Column("until", TEXT, nullable=False),
    # When the quarantine began, why in a sentence, and the event that says so; else empty.
    Column("since", TEXT, nullable=False),
    Column("reason", TEXT, nullable=False),
    Column("event_id", TEXT, nullable=False),
    # Requests that were held back since then.
    Column("refused", BigInteger, nullable=False),
    # The last decision, and the name of the token it came with.
    Column("decided", TEXT, nullable=False),
    Column("decided_by", TEXT, nullable=False),
    info=_FOURTH,
)

deprovisionings = Table(
    "scim_departures",
    metadata,
    Column("workspace", TEXT, primary_key=True),
    Column("tenant", TEXT, primary_key=True),
    # Of a user that may be gone: no foreign key.
    Column("user_id", TEXT, primary_key=True),
    # gone, or held where a request was refused
    Column("state", TEXT, nullable=False),
    # deactivate or delete: the last that was asked for.
    Column("operation", TEXT, nullable=False),
    Column("at", TEXT, nullable=False),
    # Requests on this user that were held back.
    Column("refused", BigInteger, nullable=False),
    info=_FOURTH,
)
Index(
    "scim_departures_order",
    deprovisionings.c.workspace,
    deprovisionings.c.tenant,
    deprovisionings.c.state,
    deprovisionings.c.at,
)

losses = Table(
    "scim_losses",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("workspace", TEXT, nullable=False),
    Column("tenant", TEXT, nullable=False),
    # What was written: a group that lost members, say. It may be gone: no foreign key.
    Column("resource_id", TEXT, nullable=False),
    # gone, or held where a request was refused
    Column("state", TEXT, nullable=False),
    # How many memberships of access groups it takes away.
    Column("memberships", BigInteger, nullable=False),
    Column("at", TEXT, nullable=False),
    info={"migration": "007_names"},
)
Index("scim_losses_order", losses.c.workspace, losses.c.tenant, losses.c.state, losses.c.at)
