"""Who calls: when a token was last used, and which expiry was warned of."""

from __future__ import annotations

from sqlalchemy import Column, Table

from kong_scim.directory.tables import TEXT, metadata

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
