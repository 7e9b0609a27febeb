"""The tables of resources, for PostgreSQL and SQLite alike.

Dates are text in the fixed-width form of :func:`~kong_scim.directory.values.instant`, documents are
JSON text, and no column is boolean: whatever reads a row gets the same value from both databases,
also through Lua and JSON. Text sorts and compares in code point order, as Python's does.
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
)

_FIRST = {"migration": "000_base_scim_bridge"}
"""A table's ``info``: which migration of scim-bridge creates it."""

_DELIVERIES = {"migration": "003_deliveries"}
_QUARANTINE = {"migration": "004_quarantine"}
_NAMES = {"migration": "007_names"}

HEAD = 128
"""Characters of a value that are indexed: PostgreSQL refuses B-tree rows over about 2,700 bytes."""

TEXT = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData()


def _text(name: str) -> Column[str]:
    return Column(name, TEXT, nullable=False)


def _key(name: str) -> Column[str]:
    return Column(name, TEXT, primary_key=True)


def _scope() -> list[Column[str]]:
    """Return the columns that say whose a row is."""
    return [_text("workspace"), _text("tenant")]


def _scope_key() -> list[Column[str]]:
    return [_key("workspace"), _key("tenant")]


def _owner(name: str, *, key: bool = False) -> Column[str]:
    """Return the column of a resource with which the row goes."""
    owner = ForeignKey("scim_resources.id", ondelete="CASCADE")
    return Column(name, TEXT, owner, primary_key=key, nullable=False)


def _serial(name: str) -> Column[int]:
    return Column(name, BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def _index(name: str, table: Table, columns: list[str], where: ColumnElement[bool]) -> None:
    """Add an index of those rows of a table that meet a condition."""
    Index(name, *(table.c[each] for each in columns), postgresql_where=where, sqlite_where=where)


tenants = Table(
    "scim_tenants",
    metadata,
    *_scope_key(),
    # Changes whenever the nesting, a name or the existence of a group does. A membership change
    # holds it in share mode, so that the groups a user is in cannot change their names meanwhile.
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
    # The display in the form comparisons use, for filters on members.display and groups.display.
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
    # Which entry of a multi-valued attribute, and which value of a multi-valued sub-attribute.
    Column("entry", Integer, primary_key=True, autoincrement=False),
    Column("item", Integer, primary_key=True, autoincrement=False),
    # A string in the form comparisons use; head is its first HEAD characters, for the index.
    Column("val", TEXT),
    Column("head", TEXT),
    # A number, or a boolean as 0 or 1. The row of a complex attribute has 1 here where anything is
    # in it, and else an empty val.
    Column("num", Double),
    # 1 in the row a sort on the attribute uses: of the primary entry, or else of the first.
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
    # SHA-256 of the value, in hexadecimal: a value may be longer than an index row.
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
# Nested groups are few; walking them must not walk the users of a large group.
_index("scim_members_nested", members, ["group_id", "member_id"], members.c.member_type == "Group")

# -- Events ---------------------------------------------------------------

# An event is written here in the commit of the change it tells of; the tick takes it from here into
# the tenant's audit trail. The position is drawn while the rows of the resource are locked, so that
# of two events of one resource the later one has the higher position, whatever the clocks of the
# nodes say; between resources it means nothing.
outbox = Table(
    "scim_outbox",
    metadata,
    _serial("position"),
    # A UUID of version 7: the idempotency key of whoever receives the event.
    _text("id"),
    *_scope(),
    _text("resource_type"),
    _text("resource_id"),
    Column("version_before", BigInteger),
    Column("version_after", BigInteger),
    _text("created"),
    # JSON: see kong_scim/events/outbox.py.
    _text("doc"),
    # JSON: how many of Kong's entities were written, by operation and DAO, as the bridge counted.
    _text("written"),
    Index("scim_outbox_order", "workspace", "tenant", "position"),
    info={"migration": "001_outbox"},
    # A position is never given again, also where the last row is gone.
    sqlite_autoincrement=True,
)

chains = Table(
    "scim_chains",
    metadata,
    *_scope_key(),
    # The last event of the tenant's trail: its sequence, and its hash.
    Column("length", BigInteger, nullable=False),
    _text("hash"),
    # The first event that is kept, and the hash before it.
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
    # Not before this moment.
    _text("due"),
    # Until this moment somebody is trying; empty for nobody.
    _text("leased"),
    Index("scim_deliveries_event", "event_id"),
    info=_DELIVERIES,
    sqlite_autoincrement=True,
)
_PENDING = deliveries.c.state == "pending"
_BY_TARGET = ["workspace", "tenant", "target"]
_index("scim_deliveries_pending", deliveries, [*_BY_TARGET, "resource_id", "number"], _PENDING)
_index("scim_deliveries_order", deliveries, [*_BY_TARGET, "number"], _PENDING)

attempts = Table(
    "scim_attempts",
    metadata,
    _serial("number"),
    Column(
        "delivery", BigInteger, ForeignKey(deliveries.c.number, ondelete="CASCADE"), nullable=False
    ),
    _text("at"),
    # The HTTP status, or 0 where there was no answer.
    Column("status", Integer, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    # Why it failed; empty where it did not.
    _text("error"),
    # The first KiB of the answer.
    _text("answer"),
    Index("scim_attempts_delivery", "delivery", "number"),
    info=_DELIVERIES,
    sqlite_autoincrement=True,
)

# -- Quarantine -----------------------------------------------------------

# The row of the tenant is locked by whatever writes a deprovisioning, so that the count is exact
# however # many do at once, on whichever node.
quarantines = Table(
    "scim_quarantines",
    metadata,
    *_scope_key(),
    # open, quarantined, approved or rejected: until the moment `until`, and open from then on.
    _text("state"),
    # Deprovisionings up to this moment do not count any more.
    _text("until"),
    # When the quarantine began, why in a sentence, and the event that says so; else empty.
    _text("since"),
    _text("reason"),
    _text("event_id"),
    # Requests that were held back since then.
    Column("refused", BigInteger, nullable=False),
    # The last decision, and the name of the token it came with.
    _text("decided"),
    _text("decided_by"),
    info=_QUARANTINE,
)

# One row per user, so that nobody counts twice.
deprovisionings = Table(
    "scim_departures",
    metadata,
    *_scope_key(),
    # Of a user that may be gone: no foreign key.
    _key("user_id"),
    # gone, or held where a request was refused
    _text("state"),
    # deactivate or delete: the last that was asked for.
    _text("operation"),
    _text("at"),
    # Requests on this user that were held back.
    Column("refused", BigInteger, nullable=False),
    Index("scim_departures_order", "workspace", "tenant", "state", "at"),
    info=_QUARANTINE,
)

losses = Table(
    "scim_losses",
    metadata,
    _key("id"),
    *_scope(),
    # What was written: a group that lost members, say. It may be gone: no foreign key.
    _text("resource_id"),
    # gone, or held where a request was refused
    _text("state"),
    # How many memberships of access groups it takes away.
    Column("memberships", BigInteger, nullable=False),
    _text("at"),
    Index("scim_losses_order", "workspace", "tenant", "state", "at"),
    info=_NAMES,
)

# -- Names in Kong --------------------------------------------------------

# The column `key` has the one form of all names that look the same.
acl_groups = Table(
    "scim_acl_groups",
    metadata,
    # One SCIM group gives one ACL group, also while nobody is in it.
    _owner("group_id", key=True),
    *_scope(),
    _text("name"),
    # SHA-256, in hexadecimal: a name may be longer than an index row.
    _text("key"),
    Index("scim_acl_groups_key", "workspace", "key"),
    info=_NAMES,
)

consumer_names = Table(
    "scim_consumer_names",
    metadata,
    _key("workspace"),
    # username or custom_id of a consumer; userName of a user, whose key has the tenant in it.
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
    # What logs call the credentials: a token's name, or ``jwt:`` or ``kong:`` and a name.
    _key("name"),
    # Empty where they were not used yet.
    _text("last_used"),
    # The expiry that an event warned of; empty where none did.
    _text("warned"),
    info={"migration": "005_callers"},
)

# Random secrets of a tenant, which every node has and no restart forgets.
secrets = Table(
    "scim_secrets",
    metadata,
    *_scope_key(),
    # What it is for.
    _key("name"),
    # In hexadecimal.
    _text("value"),
    info=_NAMES,
)
