"""Whether the rows beside the documents say what the documents say."""

from __future__ import annotations

from typing import Any

from directory_support import PROVIDER

from kong_scim.bridge import Scalar, Sql
from kong_scim.directory.database import Database, Scope
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.values import rows, uniques

_RESOURCES = "SELECT * FROM scim_resources WHERE workspace = $1 AND tenant = $2"
_OF_SCOPE = "IN (SELECT id FROM scim_resources WHERE workspace = $1 AND tenant = $2)"


def select(db: Database, text: str, *params: Scalar) -> list[dict[str, Any]]:
    return db.query([Sql(text, params)])[0]


def memberships(db: Database, scope: Scope) -> set[tuple[str, str, str]]:
    """Return (group id, member id, member type)."""
    text = f"SELECT * FROM scim_members WHERE group_id {_OF_SCOPE} OR member_id {_OF_SCOPE}"
    found = select(db, text, scope.workspace, scope.tenant)
    return {(row["group_id"], row["member_id"], row["member_type"]) for row in found}


def assert_rows_agree(db: Database, scope: Scope) -> None:
    """Hold the rows of values and unique values against the documents."""
    kinds, where = Kinds(PROVIDER), (scope.workspace, scope.tenant)
    values: set[tuple[Any, ...]] = set()
    unique: set[tuple[str, str, str]] = set()
    for columns in select(db, _RESOURCES, *where):
        row, kind = StoredRow.read(columns), kinds.of(columns["type"])
        for value in rows(kind, row.doc):
            number = None if value.num is None else float(value.num)
            values.add((row.id, *value[:5], number, value.sorts))
        unique |= {(row.id, attr, digest) for attr, (digest, _) in uniques(kind, row.doc).items()}
        assert (columns["display"], columns["display_key"]) == (row.display, row.display_key(kind))
    stored = select(db, f"SELECT * FROM scim_values WHERE resource_id {_OF_SCOPE}", *where)
    names = ("resource_id", "attr", "entry", "item", "val", "head", "num", "sorts")
    assert {tuple(row[name] for name in names) for row in stored} == values
    claimed = select(db, "SELECT * FROM scim_unique WHERE workspace = $1 AND tenant = $2", *where)
    assert {(row["resource_id"], row["attr"], row["digest"]) for row in claimed} == unique
