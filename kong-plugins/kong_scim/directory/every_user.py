"""Reads every user of a tenant with its groups, so that all can be applied to Kong again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kong_scim.counts import counts_of, unforeseen
from kong_scim.directory import queries
from kong_scim.directory.context import graph_of
from kong_scim.directory.database import Row, TenantDatabase
from kong_scim.directory.documents import check_form
from kong_scim.directory.kinds import Kind
from kong_scim.directory.ports import UserState
from kong_scim.directory.stored_row import StoredRow

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EveryUser:
    """Reads all users of a tenant in batches.

    :param kind: The resource type of users.
    """

    database: TenantDatabase
    kind: Kind

    def count(self) -> int:
        """Return the number of users."""
        (row,) = self.database.rows(queries.COUNT, type=self.kind.name)
        return int(row["total"])

    def batches(self, size: int) -> Iterator[list[UserState]]:
        """Yield all users, in the order of their ids.

        A user that is created meanwhile may be missing. A user whose row cannot be read is logged
        and left out, so that the others are applied to Kong; it gets no access.
        """
        users, last = self.after("", size)
        while last is not None:
            yield users
            users, last = self.after(last, size)

    def after(self, last: str, size: int) -> tuple[list[UserState], str | None]:
        """Return the next users after an id, and the id of the last one; None if there are none.

        Users whose rows cannot be read are left out, as by :meth:`batches`.
        """
        rows = self.database.rows(queries.AFTER, type=self.kind.name, last=last, limit=size)
        return (self._users(rows), str(rows[-1]["id"])) if rows else ([], None)

    def some(self, ids: Sequence[str]) -> list[UserState]:
        """Return users by their ids, as :meth:`batches` does, without those that do not exist."""
        statements = [self.database.bind(queries.ONE, type=self.kind.name, id=each) for each in ids]
        return self._users([row for rows in self.database.query(statements) for row in rows])

    def _users(self, rows: Sequence[Row]) -> list[UserState]:
        database = self.database
        graph = graph_of(*database.query(queries.edges(database, [row["id"] for row in rows])))
        users = []
        for columns in rows:
            try:
                row = StoredRow.read(columns)
                check_form(self.kind, row)
            except Exception as error:  # a document may have any defect
                log.error("user %s cannot be read: %s", columns["id"], unforeseen(error))  # noqa: TRY400
                counts_of(database.scope.tenant).add("failures", "memory", "")
            else:
                users.append(UserState(row, graph.groups_of(columns["id"])))
        return users
