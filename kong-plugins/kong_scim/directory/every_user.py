"""Every user of a tenant with its groups, for whoever must apply all of them to Kong again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from kong_scim.counts import counts_of, unforeseen
from kong_scim.directory import queries
from kong_scim.directory.context import graph_of
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.documents import StoredRow, model
from kong_scim.directory.kinds import Kind
from kong_scim.directory.ports import UserState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EveryUser:
    """The users of a tenant.

    :param kind: The resource type of users.
    """

    database: TenantDatabase
    kind: Kind

    def count(self) -> int:
        """Return how many there are."""
        (row,) = self.database.rows(queries.COUNT, type=self.kind.name)
        return int(row["total"])

    def batches(self, size: int) -> Iterator[list[UserState]]:
        """Yield all of them, in the order of their ids.

        Each batch is of one moment; a user that is made meanwhile may be among them or not. One
        whose stored row cannot be read is left out and logged: it keeps no other from Kong, and is
        let in nowhere.
        """
        database, last = self.database, ""
        while rows := database.rows(queries.AFTER, type=self.kind.name, last=last, limit=size):
            ids = [columns["id"] for columns in rows]
            last = ids[-1]
            graph = graph_of(*database.query(queries.edges(database, ids)))
            users = []
            for columns in rows:
                try:
                    user = model(self.kind, StoredRow.read(columns))
                except Exception as error:  # whatever may be stored there
                    log.error("user %s cannot be read: %s", columns["id"], unforeseen(error))  # noqa: TRY400
                    counts_of(database.scope.tenant).add("failures", "memory", "")
                else:
                    users.append(UserState(user, graph.groups_of(columns["id"])))
            yield users
