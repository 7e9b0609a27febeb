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

FIRST = {"migration": "000_base_scim_bridge"}
"""A table's ``info``: which migration of scim-bridge creates it."""

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
    info=FIRST,
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
    info=FIRST,
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
    info=FIRST,
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
    info=FIRST,
)
Index("scim_unique_resource", unique.c.resource_id)

members = Table(
    "scim_members",
    metadata,
    Column("group_id", TEXT, ForeignKey(resources.c.id, ondelete="CASCADE"), primary_key=True),
    Column("member_id", TEXT, ForeignKey(resources.c.id, ondelete="CASCADE"), primary_key=True),
    Column("member_type", TEXT, nullable=False),
    info=FIRST,
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
