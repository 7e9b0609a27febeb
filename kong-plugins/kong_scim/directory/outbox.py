"""The table of the outbox: an event is inserted here by the commit of the change it tells of.

The tick takes it from here into the tenant's audit trail a moment later. ``position`` is drawn
while the rows of the resource are locked, so that of two events of one resource the later one has
the higher position, whatever the clocks of the nodes say; between resources it means nothing.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table

from kong_scim.directory.tables import TEXT, metadata, resources

outbox = Table(
    "scim_outbox",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    # A UUID of version 7: the idempotency key of whoever receives the event.
    Column("id", TEXT, nullable=False),
    Column("workspace", TEXT, nullable=False),
    Column("tenant", TEXT, nullable=False),
    Column("resource_type", TEXT, nullable=False),
    Column("resource_id", TEXT, nullable=False),
    Column("version_before", BigInteger),
    Column("version_after", BigInteger),
    Column("created", TEXT, nullable=False),
    # JSON: see kong_scim/events/outbox.py.
    Column("doc", TEXT, nullable=False),
    # JSON: how many of Kong's entities were written, by operation and DAO, as the bridge counted.
    Column("written", TEXT, nullable=False),
    info={"migration": "001_outbox"},
    # A position is never given again, also where the last row is gone.
    sqlite_autoincrement=True,
)
Index("scim_outbox_order", outbox.c.workspace, outbox.c.tenant, outbox.c.position)

chains = Table(
    "scim_chains",
    metadata,
    Column("workspace", TEXT, primary_key=True),
    Column("tenant", TEXT, primary_key=True),
    # The last event of the tenant's trail: its sequence, and its hash.
    Column("length", BigInteger, nullable=False),
    Column("hash", TEXT, nullable=False),
    # The first event that is kept, and the hash before it.
    Column("first", BigInteger, nullable=False),
    Column("first_hash", TEXT, nullable=False),
    info={"migration": "002_trail"},
)

_THIRD = {"migration": "003_deliveries"}

deliveries = Table(
    "scim_deliveries",
    metadata,
    # In the order in which the events were sealed.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("workspace", TEXT, nullable=False),
    Column("tenant", TEXT, nullable=False),
    Column("target", TEXT, nullable=False),
    Column("event_id", TEXT, ForeignKey(resources.c.id, ondelete="CASCADE"), nullable=False),
    Column("resource_id", TEXT, nullable=False),
    # pending, delivered or dead
    Column("state", TEXT, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created", TEXT, nullable=False),
    # Not before this moment.
    Column("due", TEXT, nullable=False),
    # Until this moment somebody is trying; empty for nobody.
    Column("leased", TEXT, nullable=False),
    info=_THIRD,
    sqlite_autoincrement=True,
)
Index("scim_deliveries_event", deliveries.c.event_id)
Index(
    "scim_deliveries_pending",
    deliveries.c.workspace,
    deliveries.c.tenant,
    deliveries.c.target,
    deliveries.c.resource_id,
    deliveries.c.number,
    postgresql_where=deliveries.c.state == "pending",
    sqlite_where=deliveries.c.state == "pending",
)
Index(
    "scim_deliveries_order",
    deliveries.c.workspace,
    deliveries.c.tenant,
    deliveries.c.target,
    deliveries.c.number,
    postgresql_where=deliveries.c.state == "pending",
    sqlite_where=deliveries.c.state == "pending",
)

attempts = Table(
    "scim_attempts",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column(
        "delivery", BigInteger, ForeignKey(deliveries.c.number, ondelete="CASCADE"), nullable=False
    ),
    Column("at", TEXT, nullable=False),
    # The HTTP status, or 0 where there was no answer.
    Column("status", Integer, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    # Why it failed; empty where it did not.
    Column("error", TEXT, nullable=False),
    # The first KiB of the answer.
    Column("answer", TEXT, nullable=False),
    info=_THIRD,
    sqlite_autoincrement=True,
)
Index("scim_attempts_delivery", attempts.c.delivery, attempts.c.number)
