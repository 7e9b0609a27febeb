"""Random secrets of a tenant, which every node has and no restart forgets."""

from __future__ import annotations

import secrets as random
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Table, bindparam, select

from kong_scim.bridge import Dialect
from kong_scim.directory import queries
from kong_scim.directory.ports import Database, Scope
from kong_scim.directory.statements import Prepared, insert_into, prepare
from kong_scim.directory.tables import TEXT, metadata

BYTES = 32

secrets = Table(
    "scim_secrets",
    metadata,
    Column("workspace", TEXT, primary_key=True),
    Column("tenant", TEXT, primary_key=True),
    # What it is for.
    Column("name", TEXT, primary_key=True),
    # In hexadecimal.
    Column("value", TEXT, nullable=False),
    info={"migration": "007_names"},
)


def secret(db: Database, scope: Scope, name: str) -> bytes:
    """Return a secret, which is made by whoever asks for it first; one step.

    :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
    """
    params = {**queries.scope_params(scope), "name": name, "value": random.token_hex(BYTES)}
    *_, found = db.commit([_insert(db.dialect).bind(params), _select(db.dialect).bind(params)])
    return bytes.fromhex(found.data[0]["value"])


@lru_cache(maxsize=4)
def _insert(dialect: Dialect) -> Prepared:
    row: dict[str, Any] = {column.name: bindparam(column.name) for column in secrets.c}
    return prepare(insert_into(dialect, secrets).values(row).on_conflict_do_nothing(), dialect)


@lru_cache(maxsize=4)
def _select(dialect: Dialect) -> Prepared:
    statement = select(secrets.c.value).where(
        queries.in_scope(secrets), secrets.c.name == bindparam("name")
    )
    return prepare(statement, dialect, rows=1)
