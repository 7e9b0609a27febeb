"""The tables of events: those to be sealed, the audit trail, and the deliveries to webhooks.

A sealed event itself is a resource.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table

from kong_scim.directory.columns import index, metadata, owner, scope, scope_key, serial, text

_DELIVERIES = {"migration": "003_deliveries"}

# An event is written here in the commit of its change; the tick moves it into the tenant's audit
# trail. The position is drawn while the rows of the resource are locked, so that of two events of
# one resource the later one has the higher position, whatever the clocks of the nodes. Positions of
# different resources are in no order.
outbox = Table(
    "scim_outbox",
    metadata,
    serial("position"),
    # A UUID of version 7, which is the idempotency key for receivers of the event.
    text("id"),
    *scope(),
    text("resource_type"),
    text("resource_id"),
    Column("version_before", BigInteger),
    Column("version_after", BigInteger),
    text("created"),
    # JSON: see kong_scim/events/outbox.py.
    text("doc"),
    # JSON: the numbers of entities in Kong that were written, by operation and DAO (EntityCounts).
    text("written"),
    Index("scim_outbox_order", "workspace", "tenant", "position"),
    info={"migration": "001_outbox"},
    # A position is never used again, even if the last row is deleted.
    sqlite_autoincrement=True,
)

chains = Table(
    "scim_chains",
    metadata,
    *scope_key(),
    # The sequence number and the hash of the last event in the tenant's trail.
    Column("length", BigInteger, nullable=False),
    text("hash"),
    # The sequence number of the first event that is kept, and the hash before it.
    Column("first", BigInteger, nullable=False),
    text("first_hash"),
    info={"migration": "002_trail"},
)

deliveries = Table(
    "scim_deliveries",
    metadata,
    # In the order in which the events were sealed.
    serial("number"),
    *scope(),
    text("target"),
    owner("event_id"),
    text("resource_id"),
    # pending, delivered or dead
    text("state"),
    Column("attempts", Integer, nullable=False),
    text("created"),
    # The time of the next attempt at the earliest.
    text("due"),
    # The time until which a node has leased the delivery; empty for none.
    text("leased"),
    Index("scim_deliveries_event", "event_id"),
    info=_DELIVERIES,
    sqlite_autoincrement=True,
)
_PENDING = deliveries.c.state == "pending"
_BY_TARGET = ["workspace", "tenant", "target"]
index("scim_deliveries_pending", deliveries, [*_BY_TARGET, "resource_id", "number"], _PENDING)
index("scim_deliveries_order", deliveries, [*_BY_TARGET, "number"], _PENDING)
_DEAD = deliveries.c.state == "dead"
index("scim_deliveries_dead", deliveries, [*_BY_TARGET, "number"], _DEAD, migration="009_requests")

attempts = Table(
    "scim_attempts",
    metadata,
    serial("number"),
    Column(
        "delivery", BigInteger, ForeignKey(deliveries.c.number, ondelete="CASCADE"), nullable=False
    ),
    text("at"),
    # The HTTP status, or 0 if there was no answer.
    Column("status", Integer, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    # Why the attempt failed; empty if it did not.
    text("error"),
    # The first KiB of the answer.
    text("answer"),
    Index("scim_attempts_delivery", "delivery", "number"),
    info=_DELIVERIES,
    sqlite_autoincrement=True,
)
