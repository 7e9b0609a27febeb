"""Stores which differences of a tenant are known, and since when."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Delete, Select, Text, delete, func, select
from sqlalchemy.dialects.postgresql import Insert

from kong_scim.bridge import Dialect, Sample, Sql
from kong_scim.directory.administration_tables import drift_passes, drifts
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.queries import in_scope
from kong_scim.directory.statements import (
    Statement,
    insert_into,
    is_one_of_rows,
    json_rows,
    parameters,
    rows_of_json,
)
from kong_scim.directory.values import utc_now
from kong_scim.sync.drift import KINDS
from kong_scim.sync.drift_search import UserDrift


class DriftState:
    """What is stored of a tenant's drift."""

    def __init__(self, database: TenantDatabase) -> None:
        self.database = database

    def last_pass(self) -> dict[str, Any] | None:
        """Return the last complete pass as ``GET /Drift`` shows it, or None if there was none."""
        rows = self.database.rows(PASS)
        return json.loads(rows[0]["last"]) if rows and rows[0]["last"] else None

    def since(self, found: Iterable[UserDrift]) -> dict[tuple[str, str], str]:
        """Return when differences were found first, by user and kind, of those that are known."""
        users = sorted({each.user for each in found})
        if not users:
            return {}
        rows = self.database.rows(_SINCE, rows=json_rows([(user,) for user in users]))
        return {(row["user_id"], row["kind"]): row["since"] for row in rows}

    def by_kind(self) -> dict[str, int]:
        """Return how many differences are known, by kind."""
        rows = self.database.rows(BY_KIND)
        return {row["kind"]: int(row["total"]) for row in rows}

    def summary(self) -> dict[str, Any] | None:
        """Return what is known for ``GET /Overview``, or None before the first pass."""
        last = self.last_pass()
        if last is None:
            return None
        by_kind = self.by_kind()
        return {"total": sum(by_kind.values()), "byKind": by_kind, "lastPass": last}

    def noted(self, found: Iterable[UserDrift], seen: str) -> list[Sql]:
        """Return the statement that stores differences which a pass found, if there are any.

        :param seen: The begin of that pass.
        """
        pairs = sorted({(each.user, one.kind) for each in found for one in each.differences})
        return [self.database.bind(_NOTE, rows=json_rows(pairs), now=seen)] if pairs else []

    def forget(self, users: Sequence[str]) -> None:
        """Delete the stored differences of users whose consumers were mended."""
        if users:
            rows = json_rows([(user,) for user in sorted(set(users))])
            self.database.commit([self.database.bind(_FORGET, rows=rows)])


def gauges(database: TenantDatabase) -> list[Sample]:
    """Return the gauges of drift for Kong's ``/metrics``; none before the first pass."""
    passed, counted = database.query([database.bind(PASS), database.bind(BY_KIND)])
    if not passed or not passed[0]["ended"]:
        return []
    tenant, by_kind = database.scope.tenant, {row["kind"]: row["total"] for row in counted}
    samples = [Sample("drift", (tenant, kind), int(by_kind.get(kind, 0))) for kind in KINDS]
    age = (utc_now() - datetime.fromisoformat(passed[0]["ended"])).total_seconds()
    return [*samples, Sample("drift_pass_age", (tenant,), max(age, 0.0))]


PASS = Statement(select(drift_passes).where(in_scope(drift_passes)))
"""Selects the row of the tenant's pass."""

BY_KIND = Statement(
    select(drifts.c.kind, func.count().label("total"))
    .where(in_scope(drifts))
    .group_by(drifts.c.kind)
)
"""Counts the known differences (``total``) by ``kind``."""


def _since(dialect: Dialect) -> Select[Any]:
    columns = (drifts.c.user_id, drifts.c.kind, drifts.c.since)
    return select(*columns).where(in_scope(drifts), is_one_of_rows(dialect, drifts.c.user_id))


_SINCE = Statement(_since)


def _note(dialect: Dialect) -> Insert:
    workspace, tenant, now = parameters("workspace", "tenant", "now").values()
    rows = rows_of_json(dialect, workspace, tenant, Text, Text, now, now)
    names = ["workspace", "tenant", "user_id", "kind", "since", "seen"]
    insert = insert_into(drifts).from_select(names, rows)
    return insert.on_conflict_do_update(
        index_elements=drifts.primary_key.columns, set_={"seen": insert.excluded.seen}
    )


_NOTE = Statement(_note)


def _forget(dialect: Dialect) -> Delete:
    return delete(drifts).where(in_scope(drifts), is_one_of_rows(dialect, drifts.c.user_id))


_FORGET = Statement(_forget)
