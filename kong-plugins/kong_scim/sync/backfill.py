"""Claims the names of stored groups and users that are not claimed yet.

These are names that an older version stored, and the ACL groups that a changed ``groups``
mapping gives. Each instance of the plugin runs it once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from scim2_models import SCIMException
from sqlalchemy import Select, and_, bindparam, literal_column, select

from kong_scim.bridge import RowCountError, Sql, Step, TransactionConflictError
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory import queries
from kong_scim.directory.database import Row, TenantDatabase
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.ports import UserState
from kong_scim.directory.statements import Statement
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.tables import acl_groups, consumer_names, resources
from kong_scim.sync.names import given_group
from kong_scim.sync.ownership import Ownership
from kong_scim.sync.record import KongUserRecord
from kong_scim.sync.subjects import Subjects

log = logging.getLogger(__name__)

BATCH = 250


@dataclass(frozen=True)
class Backfill:
    """Claims the ACL groups and names of a tenant's groups and users that are not claimed yet.

    :param ownership: The tenant's ownership of names.
    """

    config: PluginConfig
    database: TenantDatabase
    kinds: Kinds
    ownership: Ownership

    def run(self) -> bool:
        """Claim all names; return False if another write came in between, so that some are left.

        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        try:
            for claim_batch in (self._claim_groups, self._claim_users, self._claim_subjects):
                last = ""
                while last := claim_batch(last):
                    pass
        except (RowCountError, TransactionConflictError):
            return False
        return True

    def _claim_groups(self, last: str) -> str:
        """Claim the names of one batch of groups after an id; return its last id, or "" at the
        end."""
        groups = self.kinds.in_role("Group").name
        rows = self.database.rows(_GROUPS, type=groups, last=last)
        mapped = [(row, self._acl_group(str(row["display"] or ""))) for row in rows]
        changed = [(row, name) for row, name in mapped if name != row["held"]]
        steps = [self.ownership.gives(row["id"], name) for row, name in changed]
        self._commit([row for row, _ in changed], steps)
        for row, name in changed:
            if name and self.ownership.is_given_by_others(row["id"], name):
                log.warning(
                    "tenant %s: its group %s gives the ACL group %r, which another tenant gives "
                    "too: see groups.prefix and groups.allow",
                    *(self.database.scope.tenant, row["id"], name),
                )
        return str(rows[-1]["id"]) if rows else ""

    def _claim_users(self, last: str) -> str:
        kind = self.kinds.in_role("User")
        rows = self.database.rows(_USERS, type=kind.name, last=last)
        steps: list[Step] = []
        for row in rows:
            user = UserState(StoredRow.read(row))
            names = self.ownership.held(user, KongUserRecord.stored(user.doc))
            steps += self.ownership.keeps(row["id"], names)
        self._commit(rows, steps)
        return str(rows[-1]["id"]) if rows else ""

    def _claim_subjects(self, last: str) -> str:
        """Claim the subjects of one batch of users after an id, and have Kong refuse those of users
        who are not active."""
        if not self.config.subjects:
            return ""
        subjects = Subjects(self.config, self.database)
        users_type = self.kinds.in_role("User").name
        rows = self.database.rows(_UNMARKED, type=users_type, last=last, mark=subjects.mark)
        users = [UserState(StoredRow.read(row)) for row in rows]
        steps = [step for user in users for step in subjects.keeps(user)]
        # Statements come first in a commit, and then the steps on entities.
        steps.sort(key=lambda step: not isinstance(step, Sql))
        self._commit(rows, steps)
        return str(rows[-1]["id"]) if rows else ""

    def _acl_group(self, display: str) -> str | None:
        try:
            return given_group(self.config.groups, display)
        except SCIMException:  # it gives no ACL group under this mapping
            return None

    def _commit(self, rows: list[Row], steps: list[Step]) -> None:
        if steps:
            versions = {row["id"]: int(row["version"]) for row in rows}
            self.database.commit([*queries.lock(self.database, versions), *steps])


def _batch_after(statement: Select[Any]) -> Statement:
    """Select a batch of rows of a ``type`` after the ``last`` id."""
    of_type = resources.c.type == bindparam("type")
    return Statement(
        statement.where(queries.in_scope(), of_type, resources.c.id > bindparam("last"))
        .order_by(resources.c.id)
        .limit(BATCH)
    )


_GROUPS = _batch_after(
    select(
        resources.c.id,
        resources.c.version,
        resources.c.display,
        acl_groups.c.name.label("held"),
    ).select_from(resources.outerjoin(acl_groups, acl_groups.c.group_id == resources.c.id))
)
"""Selects groups with the ACL groups that they have claimed."""

_HELD = and_(
    consumer_names.c.resource_id == resources.c.id,
    consumer_names.c.kind == literal_column("'userName'"),
)

_USERS = _batch_after(
    select(*queries.ROW)
    .select_from(resources.outerjoin(consumer_names, _HELD))
    .where(consumer_names.c.resource_id.is_(None))
)
"""Selects users that have claimed no name."""

_MARKED = and_(
    consumer_names.c.resource_id == resources.c.id, consumer_names.c.kind == bindparam("mark")
)

_UNMARKED = _batch_after(
    select(*queries.ROW)
    .select_from(resources.outerjoin(consumer_names, _MARKED))
    .where(consumer_names.c.resource_id.is_(None))
)
"""Selects users that have not claimed their subjects under this configuration."""
