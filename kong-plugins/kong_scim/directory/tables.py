"""The tables of resources, for PostgreSQL and SQLite alike.

Dates are text in the fixed-width form of :func:`~kong_scim.directory.values.instant`, documents are
JSON text, and no column is boolean. So a row has the same values from both databases, also through
Lua and JSON. Text sorts and compares in code point order, as in Python.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    literal_column,
)

_FIRST = {"migration": "000_base_scim_bridge"}
"""The ``info`` of a table: the migration of scim-bridge that creates it."""

_DELIVERIES = {"migration": "003_deliveries"}
_QUARANTINE = {"migration": "004_quarantine"}
_NAMES = {"migration": "007_names"}
_DRIFT = {"migration": "008_drift"}
_REQUESTS = {"migration": "009_requests"}

HEAD = 128
"""How many characters of a value are indexed: PostgreSQL refuses B-tree rows over about 2,700
bytes."""

TEXT = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData()


def _text(name: str) -> Column[str]:
    return Column(name, TEXT, nullable=False)


def _key(name: str) -> Column[str]:
    return Column(name, TEXT, primary_key=True)


def _scope() -> list[Column[str]]:
    """Return the columns for the owner of a row, its workspace and tenant."""
    return [_text("workspace"), _text("tenant")]


def _scope_key() -> list[Column[str]]:
    return [_key("workspace"), _key("tenant")]


def _owner(name: str, *, key: bool = False) -> Column[str]:
    """Return the column of the resource with which the row is deleted."""
    owner = ForeignKey("scim_resources.id", ondelete="CASCADE")
    return Column(name, TEXT, owner, primary_key=key, nullable=False)


def _serial(name: str) -> Column[int]:
    return Column(name, BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def _index(
    name: str, table: Table, columns: list[str], where: ColumnElement[bool], **info: str
) -> None:
    """Add a partial index of the rows that meet a condition.

    :param info: The migration that creates it, if it is a later one than that of its table.
    """
    its = (table.c[each] for each in columns)
    Index(name, *its, postgresql_where=where, sqlite_where=where, info=info or table.info)


tenants = Table(
    "scim_tenants",
    metadata,
    *_scope_key(),
    # Changes with the nesting, a name or the existence of a group. A change of members locks it in
    # share mode, so that the groups of a user cannot change their names meanwhile.
    Column("graph_version", BigInteger, nullable=False, server_default="0"),
    info=_FIRST,
)

resources = Table(
    "scim_resources",
    metadata,
    _key("id"),
    *_scope(),
    _text("type"),
    Column("version", BigInteger, nullable=False),
    Column("display", TEXT),
    # The display in the form for comparisons, for filters on members.display and groups.display.
    Column("display_key", TEXT),
    _text("doc"),
    _text("created"),
    _text("modified"),
    Index("scim_resources_order", "workspace", "tenant", "type", "created", "id"),
    info=_FIRST,
)


values = Table(
    "scim_values",
    metadata,
    _owner("resource_id", key=True),
    # The attribute's path in lower case, qualified by the URN of its extension.
    _key("attr"),
    # The index of the entry of a multi-valued attribute, and of a multi-valued sub-attribute.
    Column("entry", Integer, primary_key=True, autoincrement=False),
    Column("item", Integer, primary_key=True, autoincrement=False),
    # A string in the form for comparisons; head has its first HEAD characters, for the index.
    Column("val", TEXT),
    Column("head", TEXT),
    # A number, or a boolean as 0 or 1. The row of a complex attribute has 1 here if the attribute
    # has a value, and otherwise an empty val.
    Column("num", Double),
    # 1 in the row by which the attribute is sorted: of the primary entry, or else of the first.
    Column("sorts", Integer, nullable=False),
    info=_FIRST,
)
_index(
    "scim_values_head", values, ["attr", "head", "resource_id", "entry"], values.c.head.is_not(None)
)
_index(
    "scim_values_num", values, ["attr", "num", "resource_id", "entry"], values.c.num.is_not(None)
)

unique = Table(
    "scim_unique",
    metadata,
    *_scope_key(),
    _key("attr"),
    # The SHA-256 of the value, in hexadecimal: a value may be longer than an index row.
    _key("digest"),
    _owner("resource_id"),
    Index("scim_unique_resource", "resource_id"),
    info=_FIRST,
)

members = Table(
    "scim_members",
    metadata,
    _owner("group_id", key=True),
    _owner("member_id", key=True),
    _text("member_type"),
    Index("scim_members_member", "member_id", "group_id"),
    info=_FIRST,
)
# Nested groups are few; following them must not read the users of a large group.
_index("scim_members_nested", members, ["group_id", "member_id"], members.c.member_type == "Group")

# -- Events ---------------------------------------------------------------

# An event is written here in the commit of its change; the tick moves it into the tenant's audit
# trail. The position is drawn while the rows of the resource are locked, so that of two events of
# one resource the later one has the higher position, whatever the clocks of the nodes. Positions of
# different resources are in no order.
outbox = Table(
    "scim_outbox",
    metadata,
    _serial("position"),
    # A UUID of version 7, which is the idempotency key for receivers of the event.
    _text("id"),
    *_scope(),
    _text("resource_type"),
    _text("resource_id"),
    Column("version_before", BigInteger),
    Column("version_after", BigInteger),
    _text("created"),
    # JSON: see kong_scim/events/outbox.py.
    _text("doc"),
    # JSON: the numbers of entities in Kong that were written, by operation and DAO (EntityCounts).
    _text("written"),
    Index("scim_outbox_order", "workspace", "tenant", "position"),
    info={"migration": "001_outbox"},
    # A position is never used again, even if the last row is deleted.
    sqlite_autoincrement=True,
)

chains = Table(
    "scim_chains",
    metadata,
    *_scope_key(),
    # The sequence number and the hash of the last event in the tenant's trail.
    Column("length", BigInteger, nullable=False),
    _text("hash"),
    # The sequence number of the first event that is kept, and the hash before it.
    Column("first", BigInteger, nullable=False),
    _text("first_hash"),
    info={"migration": "002_trail"},
)

deliveries = Table(
    "scim_deliveries",
    metadata,
    # In the order in which the events were sealed.
    _serial("number"),
    *_scope(),
    _text("target"),
    _owner("event_id"),
    _text("resource_id"),
    # pending, delivered or dead
    _text("state"),
    Column("attempts", Integer, nullable=False),
    _text("created"),
    # The time of the next attempt at the earliest.
    _text("due"),
    # The time until which a node has leased the delivery; empty for none.
    _text("leased"),
    Index("scim_deliveries_event", "event_id"),
    info=_DELIVERIES,
    sqlite_autoincrement=True,
)
_PENDING = deliveries.c.state == "pending"
_BY_TARGET = ["workspace", "tenant", "target"]
_index("scim_deliveries_pending", deliveries, [*_BY_TARGET, "resource_id", "number"], _PENDING)
_index("scim_deliveries_order", deliveries, [*_BY_TARGET, "number"], _PENDING)
_DEAD = deliveries.c.state == "dead"
_index("scim_deliveries_dead", deliveries, [*_BY_TARGET, "number"], _DEAD, **_REQUESTS)

attempts = Table(
    "scim_attempts",
    metadata,
    _serial("number"),
    Column(
        "delivery", BigInteger, ForeignKey(deliveries.c.number, ondelete="CASCADE"), nullable=False
    ),
    _text("at"),
    # The HTTP status, or 0 if there was no answer.
    Column("status", Integer, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    # Why the attempt failed; empty if it did not.
    _text("error"),
    # The first KiB of the answer.
    _text("answer"),
    Index("scim_attempts_delivery", "delivery", "number"),
    info=_DELIVERIES,
    sqlite_autoincrement=True,
)

# -- Quarantine -----------------------------------------------------------

# Each write of a deprovisioning locks the row of the tenant, so that the count is exact even if
# several nodes write at once.
quarantines = Table(
    "scim_quarantines",
    metadata,
    *_scope_key(),
    # open, quarantined, approved or rejected, each until `until`, and open from then on.
    _text("state"),
    # Deprovisionings up to this time do not count any more.
    _text("until"),
    # When the quarantine began, why (a sentence), and the id of its event; empty without one.
    _text("since"),
    _text("reason"),
    _text("event_id"),
    # The number of requests that were held back since then.
    Column("refused", BigInteger, nullable=False),
    # The time of the last decision, and the name of the token that made it.
    _text("decided"),
    _text("decided_by"),
    info=_QUARANTINE,
)

# There is one row per user, so that no user counts twice.
deprovisionings = Table(
    "scim_departures",
    metadata,
    *_scope_key(),
    # No foreign key, because the user may be deleted.
    _key("user_id"),
    # gone, or held if a request was refused
    _text("state"),
    # deactivate or delete, whichever was requested last.
    _text("operation"),
    _text("at"),
    # The number of requests on this user that were held back.
    Column("refused", BigInteger, nullable=False),
    Index("scim_departures_order", "workspace", "tenant", "state", "at"),
    info=_QUARANTINE,
)

losses = Table(
    "scim_losses",
    metadata,
    _key("id"),
    *_scope(),
    # The resource that was written, such as a group. No foreign key, because it may be deleted.
    _text("resource_id"),
    # gone, or held if a request was refused
    _text("state"),
    # How many memberships of access groups the write removes.
    Column("memberships", BigInteger, nullable=False),
    _text("at"),
    Index("scim_losses_order", "workspace", "tenant", "state", "at"),
    info=_NAMES,
)

# -- Names in Kong --------------------------------------------------------

# The column `key` is the same for all names that look the same.
acl_groups = Table(
    "scim_acl_groups",
    metadata,
    # One SCIM group gives one ACL group, even if it has no members.
    _owner("group_id", key=True),
    *_scope(),
    _text("name"),
    # A SHA-256 in hexadecimal: a name may be longer than an index row.
    _text("key"),
    Index("scim_acl_groups_key", "workspace", "key"),
    info=_NAMES,
)

consumer_names = Table(
    "scim_consumer_names",
    metadata,
    _key("workspace"),
    # username or custom_id of a consumer, or userName of a user, whose key includes the tenant.
    _key("kind"),
    _key("key"),
    _owner("resource_id"),
    Index("scim_consumer_names_resource", "resource_id"),
    info=_NAMES,
)

# -- Credentials ----------------------------------------------------------

callers = Table(
    "scim_callers",
    metadata,
    *_scope_key(),
    # The name of the credentials in logs: a token's name, or ``jwt:`` or ``kong:`` and a name.
    _key("name"),
    # Empty if they were not used yet.
    _text("last_used"),
    # The expiry of which an event warned; empty if none did.
    _text("warned"),
    info={"migration": "005_callers"},
)

# The random secrets of a tenant, which all nodes share and which survive restarts.
secrets = Table(
    "scim_secrets",
    metadata,
    *_scope_key(),
    # The purpose of the secret.
    _key("name"),
    # The secret in hexadecimal.
    _text("value"),
    info=_NAMES,
)

# -- Drift ----------------------------------------------------------------

# The differences that are known, for the moment since which each is there.
drifts = Table(
    "scim_drifts",
    metadata,
    *_scope_key(),
    # No foreign key, because the user of an orphaned consumer is gone.
    _key("user_id"),
    _key("kind"),
    # When it was found first, and the begin of the last pass that found it.
    _text("since"),
    _text("seen"),
    info=_DRIFT,
)

# The pass over all users of a tenant that runs, or ran last. One node at a time has the lease.
drift_passes = Table(
    "scim_drift_passes",
    metadata,
    *_scope_key(),
    # The digest of the mapping with which the last pass began.
    _text("mapping"),
    # When the pass that runs began; empty for none.
    _text("begun"),
    # JSON: how far it is (kong_scim/sync/drift_pass.py).
    _text("progress"),
    # The node that runs it, and until when other nodes leave it alone.
    _text("node"),
    _text("leased"),
    # The end of the last complete pass, and JSON about it; empty for none.
    _text("ended"),
    _text("last"),
    info=_DRIFT,
)

# -- Provider log ---------------------------------------------------------

requests = Table(
    "scim_requests",
    metadata,
    # In the order in which they were written, which is about that of their time.
    _serial("number"),
    *_scope(),
    _text("at"),
    _text("method"),
    _text("path"),
    Column("status", Integer, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    # Empty if there is none, as the columns below.
    _text("token"),
    _text("provider"),
    # The sentence of the error.
    _text("error"),
    _text("body"),
    Index("scim_requests_order", "workspace", "tenant", "number"),
    info=_REQUESTS,
    sqlite_autoincrement=True,
)
_FAILED = requests.c.status >= literal_column("400")
_index("scim_requests_failed", requests, ["workspace", "tenant", "number"], _FAILED)

request_hours = Table(
    "scim_request_hours",
    metadata,
    *_scope_key(),
    # The beginning of a date, such as 2026-01-31T09.
    _key("hour"),
    # How many requests were answered in this hour, and how many of them with an error.
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    info=_REQUESTS,
)
