"""Holds the names that were stored before names were held, or that a new mapping gives.

Run once by each instance of the plugin: so that what an older version stored is nobody else's
either, and after a change of ``groups`` what a group gives from now on.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from scim2_models import SCIMException
from sqlalchemy import and_, bindparam, literal_column, select

from kong_scim.bridge import Dialect, RowCountError, Sql, Step, TransactionConflictError
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory import queries
from kong_scim.directory.documents import StoredRow, model
from kong_scim.directory.kinds import Kind, Kinds
from kong_scim.directory.names import acl_groups, consumer_names
from kong_scim.directory.ports import Database, Scope, UserState
from kong_scim.directory.statements import Prepared, prepare
from kong_scim.directory.tables import resources
from kong_scim.sync.names import given_group
from kong_scim.sync.ownership import Ownership
from kong_scim.sync.record import KongUserRecord

log = logging.getLogger(__name__)

BATCH = 250


class Backfill:
    """Holds what a tenant's groups and users have and do not hold yet.

    :param ownership: Of the tenant.
    """

    def __init__(
        self,
        config: PluginConfig,
        db: Database,
        scope: Scope,
        kinds: Kinds,
        ownership: Ownership,
    ) -> None:
        self._config = config
        self._db = db
        self._scope = scope
        self._kinds = kinds
        self._ownership = ownership

    def run(self) -> bool:
        """Do it, and return whether that was all: somebody may have written in between.

        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        groups, users = self._kinds.in_role("Group"), self._kinds.in_role("User")
        try:
            for kind, work in ((groups, self._groups), (users, self._users)):
                last = ""
                while kind is not None:
                    last = work(kind, last)
                    if not last:
                        break
        except (RowCountError, TransactionConflictError):
            return False
        return True

    def _groups(self, kind: Kind, last: str) -> str:
        """Do some groups behind an id, and return the last one's; an empty one at the end."""
        rows = self._read(_groups(self._db.dialect), kind, last)
        given = [(row, self._given(str(row["display"] or ""))) for row in rows]
        changed = [(row, name) for row, name in given if name != row["held"]]
        steps: list[Step] = []
        for row, name in changed:
            steps += self._ownership.gives(row["id"], name)
        self._commit([row for row, _ in changed], steps)
        for row, name in changed:
            if name and self._ownership.is_given_by_others(self._db, row["id"], name):
                log.warning(
                    "tenant %s: its group %s gives the ACL group %r, which another tenant gives "
                    "too: see groups.prefix and groups.allow",
                    *(self._scope.tenant, row["id"], name),
                )
        return str(rows[-1]["id"]) if rows else ""

    def _users(self, kind: Kind, last: str) -> str:
        rows = self._read(_users(self._db.dialect), kind, last)
        steps: list[Step] = []
        for row in rows:
            user = model(kind, StoredRow.read(row))
            names = self._ownership.held(UserState(user), KongUserRecord.stored(user))
            steps += self._ownership.keeps(row["id"], names)
        self._commit(rows, steps)
        return str(rows[-1]["id"]) if rows else ""

    def _given(self, display: str) -> str | None:
        try:
            return given_group(self._config.groups, display)
        except SCIMException:  # it gives nothing under this mapping
            return None

    def _read(self, statement: Prepared, kind: Kind, last: str) -> list[dict[str, Any]]:
        params = {**queries.scope_params(self._scope), "type": kind.name, "last": last}
        (rows,) = self._db.query([statement.bind(params)])
        return rows

    def _commit(self, rows: list[dict[str, Any]], steps: list[Step]) -> None:
        if steps:
            versions = {row["id"]: int(row["version"]) for row in rows}
            guards: list[Sql] = queries.lock(self._db.dialect, versions)
            self._db.commit([*guards, *steps])


@lru_cache(maxsize=4)
def _groups(dialect: Dialect) -> Prepared:
    """Select groups with the names that they hold."""
    joined = resources.outerjoin(acl_groups, acl_groups.c.group_id == resources.c.id)
    columns = [resources.c.id, resources.c.version, resources.c.display]
    statement = select(*columns, acl_groups.c.name.label("held")).select_from(joined)
    return prepare(_behind(statement), dialect)


@lru_cache(maxsize=4)
def _users(dialect: Dialect) -> Prepared:
    """Select users that hold no name."""
    held = and_(
        consumer_names.c.resource_id == resources.c.id,
        consumer_names.c.kind == literal_column("'userName'"),
    )
    joined = resources.outerjoin(consumer_names, held)
    statement = select(*queries.row_columns()).select_from(joined)
    return prepare(_behind(statement.where(consumer_names.c.resource_id.is_(None))), dialect)


def _behind(statement: Any) -> Any:
    of_type = resources.c.type == bindparam("type")
    return (
        statement.where(queries.in_scope(), of_type, resources.c.id > bindparam("last"))
        .order_by(resources.c.id)
        .limit(BATCH)
    )
