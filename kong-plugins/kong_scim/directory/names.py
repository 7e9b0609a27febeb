"""Names in Kong that SCIM holds: ACL groups by the groups that give them, and names of consumers.

``key`` is the one form of all names that look the same; what looks so is the caller's to say.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Table

from kong_scim.directory.tables import TEXT, metadata, resources

_SEVENTH = {"migration": "007_names"}

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
    info=_SEVENTH,
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
    info=_SEVENTH,
)
Index("scim_consumer_names_resource", consumer_names.c.resource_id)
