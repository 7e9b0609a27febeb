"""The tables of resources, for PostgreSQL and SQLite alike.

Dates are text in the fixed-width form of :func:`~kong_scim.directory.values.instant`, documents are
JSON text, and no column is boolean: whatever reads a row gets the same value from both databases,
also through Lua and JSON. Text sorts and compares in code point order, as Python's does.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
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

tenants = Table(
    "scim_tenants",
    metadata,
    Column("workspace", TEXT, primary_key=True),
    Column("tenant", TEXT, primary_key=True),
    # Changes whenever the nesting, a name or the existence of a group does. A membership change
    # holds it in share mode, so that the groups a user is in cannot change their names meanwhile.
    Column("graph_version", BigInteger, nullable=False, server_default="0"),
    info=_FIRST,
)

resources = Table(
    "scim_resources",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("workspace", TEXT, nullable=False),
    Column("tenant", TEXT, nullable=False),
    Column("type", TEXT, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("display", TEXT),
    # The display in the form comparisons use, for filters on members.display and groups.display.
    Column("display_key", TEXT),
    Column("doc", TEXT, nullable=False),
    Column("created", TEXT, nullable=False),
    Column("modified", TEXT, nullable=False),
    info=_FIRST,
)
Index(
    "scim_resources_order",
    resources.c.workspace,
    resources.c.tenant,
    resources.c.type,
    resources.c.created,
    resources.c.id,
)


def _owner(name: str) -> Column[str]:
    return Column(name, TEXT, ForeignKey(resources.c.id, ondelete="CASCADE"), nullable=False)


values = Table(
    "scim_values",
    metadata,
    Column("resource_id", TEXT, ForeignKey(resources.c.id, ondelete="CASCADE"), primary_key=True),
    # The attribute's path in lower case, qualified by the URN of its extension.
    Column("attr", TEXT, primary_key=True),
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
Index(
    "scim_values_head",
    values.c.attr,
    values.c.head,
    values.c.resource_id,
    values.c.entry,
    postgresql_where=values.c.head.is_not(None),
    sqlite_where=values.c.head.is_not(None),
)
Index(
    "scim_values_num",
    values.c.attr,
    values.c.num,
    values.c.resource_id,
    values.c.entry,
    postgresql_where=values.c.num.is_not(None),
    sqlite_where=values.c.num.is_not(None),
)

unique = Table(
    "scim_unique",
    metadata,
    Column("workspace", TEXT, primary_key=True),
    Column("tenant", TEXT, primary_key=True),
    Column("attr", TEXT, primary_key=True),
    # SHA-256 of the value, in hexadecimal: a value may be longer than an index row.
    Column("digest", TEXT, primary_key=True),
    _owner("resource_id"),
    info=_FIRST,
)
Index("scim_unique_resource", unique.c.resource_id)

members = Table(
    "scim_members",
    metadata,
    Column("group_id", TEXT, ForeignKey(resources.c.id, ondelete="CASCADE"), primary_key=True),
    Column("member_id", TEXT, ForeignKey(resources.c.id, ondelete="CASCADE"), primary_key=True),
    Column("member_type", TEXT, nullable=False),
    info=_FIRST,
)
Index("scim_members_member", members.c.member_id, members.c.group_id)
# Nested groups are few; walking them must not walk the users of a large group.
Index(
    "scim_members_nested",
    members.c.group_id,
    members.c.member_id,
    postgresql_where=members.c.member_type == "Group",
    sqlite_where=members.c.member_type == "Group",
)

# -- Events ---------------------------------------------------------------

# An event is written here in the commit of the change it tells of; the tick takes it from here into
# the tenant's audit trail. The position is drawn while the rows of the resource are locked, so that
# of two events of one resource the later one has the higher position, whatever the clocks of the
# nodes say; between resources it means nothing.
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
    info=_DELIVERIES,
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
    info=_DELIVERIES,
    sqlite_autoincrement=True,
)
Index("scim_attempts_delivery", attempts.c.delivery, attempts.c.number)

# -- Quarantine -----------------------------------------------------------

# The row of the tenant is locked by whatever writes a departure, so that the count is exact however
# many do at once, on whichever node.
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
    info=_QUARANTINE,
)

# One row per user, so that nobody counts twice.
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
    info=_QUARANTINE,
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
    info=_NAMES,
)
Index("scim_losses_order", losses.c.workspace, losses.c.tenant, losses.c.state, losses.c.at)

# -- Names in Kong --------------------------------------------------------

# The column `key` has the one form of all names that look the same.
acl_groups = Table(
    "scim_acl_groups",
    metadata,
    # One SCIM group gives one ACL group, also while nobody is in it.
    Column("group_id", TEXT, ForeignKey(resources.c.id, ondelete="CASCADE"), primary_key=True),
    Column("workspace", TEXT, nullable=False),
    Column("tenant", TEXT, nullable=False),
    Column("name", TEXT, nullable=False),
    # SHA-256, in hexadecimal: a name may be longer than an index row.
    Column("key", TEXT, nullable=False),
    info=_NAMES,
)
Index("scim_acl_groups_key", acl_groups.c.workspace, acl_groups.c.key)

consumer_names = Table(
    "scim_consumer_names",
    metadata,
    Column("workspace", TEXT, primary_key=True),
    # username or custom_id of a consumer; userName of a user, whose key has the tenant in it.
    Column("kind", TEXT, primary_key=True),
    Column("key", TEXT, primary_key=True),
    Column("resource_id", TEXT, ForeignKey(resources.c.id, ondelete="CASCADE"), nullable=False),
    info=_NAMES,
)
Index("scim_consumer_names_resource", consumer_names.c.resource_id)

# -- Credentials ----------------------------------------------------------

callers = Table(
    "scim_callers",
    metadata,
    Column("workspace", TEXT, primary_key=True),
    Column("tenant", TEXT, primary_key=True),
    # What logs call the credentials: a token's name, or ``jwt:`` or ``kong:`` and a name.
    Column("name", TEXT, primary_key=True),
    # Empty where they were not used yet.
    Column("last_used", TEXT, nullable=False),
    # The expiry that an event warned of; empty where none did.
    Column("warned", TEXT, nullable=False),
    info={"migration": "005_callers"},
)

# Random secrets of a tenant, which every node has and no restart forgets.
secrets = Table(
    "scim_secrets",
    metadata,
    Column("workspace", TEXT, primary_key=True),
    Column("tenant", TEXT, primary_key=True),
    # What it is for.
    Column("name", TEXT, primary_key=True),
    # In hexadecimal.
    Column("value", TEXT, nullable=False),
    info=_NAMES,
)
