"""The tables of tenants, of resources, and of the names that they have in Kong.

The tables of events are in :mod:`~kong_scim.directory.event_tables`, and those of what
administrators look at in :mod:`~kong_scim.directory.administration_tables`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table

from kong_scim.directory.columns import TEXT, index, key, metadata, owner, scope, scope_key, text

_FIRST = {"migration": "000_base_scim_bridge"}
_NAMES = {"migration": "007_names"}

HEAD = 128
"""How many characters of a value are indexed: PostgreSQL refuses B-tree rows over about 2,700
bytes."""

tenants = Table(
    "scim_tenants",
    metadata,
    *scope_key(),
    # Changes with the nesting, a name or the existence of a group. A change of members locks it in
    # share mode, so that the groups of a user cannot change their names meanwhile.
    Column("graph_version", BigInteger, nullable=False, server_default="0"),
    info=_FIRST,
)

resources = Table(
    "scim_resources",
    metadata,
    key("id"),
    *scope(),
    text("type"),
    Column("version", BigInteger, nullable=False),
    Column("display", TEXT),
    # The display in the form for comparisons, for filters on members.display and groups.display.
    Column("display_key", TEXT),
    text("doc"),
    text("created"),
    text("modified"),
    Index("scim_resources_order", "workspace", "tenant", "type", "created", "id"),
    info=_FIRST,
)


values = Table(
    "scim_values",
    metadata,
    owner("resource_id", key=True),
    # The attribute's path in lower case, qualified by the URN of its extension.
    key("attr"),
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
index(
    "scim_values_head", values, ["attr", "head", "resource_id", "entry"], values.c.head.is_not(None)
)
index("scim_values_num", values, ["attr", "num", "resource_id", "entry"], values.c.num.is_not(None))

unique = Table(
    "scim_unique",
    metadata,
    *scope_key(),
    key("attr"),
    # The SHA-256 of the value, in hexadecimal: a value may be longer than an index row.
    key("digest"),
    owner("resource_id"),
    Index("scim_unique_resource", "resource_id"),
    info=_FIRST,
)

members = Table(
    "scim_members",
    metadata,
    owner("group_id", key=True),
    owner("member_id", key=True),
    text("member_type"),
    Index("scim_members_member", "member_id", "group_id"),
    info=_FIRST,
)
# Nested groups are few; following them must not read the users of a large group.
index("scim_members_nested", members, ["group_id", "member_id"], members.c.member_type == "Group")

# -- Names in Kong --------------------------------------------------------

# The column `key` is the same for all names that look the same.
acl_groups = Table(
    "scim_acl_groups",
    metadata,
    # One SCIM group gives one ACL group, even if it has no members.
    owner("group_id", key=True),
    *scope(),
    text("name"),
    # A SHA-256 in hexadecimal: a name may be longer than an index row.
    text("key"),
    Index("scim_acl_groups_key", "workspace", "key"),
    info=_NAMES,
)

consumer_names = Table(
    "scim_consumer_names",
    metadata,
    key("workspace"),
    # username or custom_id of a consumer, or userName of a user, whose key includes the tenant.
    key("kind"),
    key("key"),
    owner("resource_id"),
    Index("scim_consumer_names_resource", "resource_id"),
    info=_NAMES,
)

# -- Secrets --------------------------------------------------------------

# The random secrets of a tenant, which all nodes share and which survive restarts.
secrets = Table(
    "scim_secrets",
    metadata,
    *scope_key(),
    # The purpose of the secret.
    key("name"),
    # The secret in hexadecimal.
    text("value"),
    info=_NAMES,
)
