"""Ready-made rows: what Kong's memory has of each user, kept so that it can be written again.

After Kong loaded a configuration, its memory is filled by writing these rows, without planning each
user anew. They are changed in the same SQLite transaction as the change that Kong is given. What
they give Kong is what planning would: where that is not certain, they are not used.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kong_scim import __version__
from kong_scim.bridge import BRIDGE_VERSION, MEMBERSHIPS, Delete, Host, Step, Upsert
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory.database import Scope
from kong_scim.directory.sqlite import SqliteTransaction
from kong_scim.spelling import fold
from kong_scim.sync.wanted import USER_TAG

EVENT_TAG = "scim-event:"
"""The prefix of the tag with a consumer's last event, which scim-bridge sets."""

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS kong_rows (
      id TEXT PRIMARY KEY,
      workspace TEXT NOT NULL, tenant TEXT NOT NULL, consumer TEXT NOT NULL,
      user TEXT, dao TEXT NOT NULL, entity TEXT NOT NULL, similar_names TEXT
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS kong_rows_consumer ON kong_rows (consumer)",
    "CREATE INDEX IF NOT EXISTS kong_rows_user ON kong_rows (user) WHERE user IS NOT NULL",
    """
    CREATE TABLE IF NOT EXISTS kong_rows_made (
      workspace TEXT, tenant TEXT, origin TEXT NOT NULL, number INTEGER NOT NULL,
      PRIMARY KEY (workspace, tenant)
    ) STRICT
    """,
)


def origin(config: PluginConfig, host: Host) -> str:
    """Return a text that differs for rows that were made by another release of scim-bridge, for
    another Kong, or with another mapping."""
    return f"{__version__} {BRIDGE_VERSION} {host.kong_version} {config.mapping_digest}"


def create(transaction: SqliteTransaction) -> None:
    """Create the tables that are missing."""
    for statement in _TABLES:
        transaction.connection.execute(statement)


@dataclass(frozen=True)
class ReadyUser:
    """The rows of one user.

    :param consumer: The id of the user's consumer.
    :param text: A JSON list with the DAO's name, the entity, and names which look the same as its
        own, for the consumer and then for its groups and credentials.
    """

    consumer: str
    text: str


class ReadyRows:
    """The ready-made rows of one tenant, within a transaction.

    The rows of a tenant are complete if they were made since the tenant's first change, or by an
    application of all users to an empty memory. From then on each change is noted. A release that
    does not know these tables notes none; then the number of the last change tells.

    :param made_by: The :func:`origin` of rows that are made now.
    """

    def __init__(self, transaction: SqliteTransaction, scope: Scope, made_by: str) -> None:
        self._connection = transaction.connection
        self._scope = scope
        self._origin = made_by

    def are_complete(self, number: int) -> bool:
        """Whether the rows are what planning would make.

        :param number: The number of the tenant's last change.
        """
        found = self._run(
            "SELECT origin, number FROM kong_rows_made"
            " WHERE workspace = :workspace AND tenant = :tenant"
        ).fetchone()
        return found == (self._origin, number) if found else number == 0

    def note(self, steps: Sequence[Step], before: int, number: int) -> None:
        """Change the rows as the steps of a change change Kong's entities.

        :param before: The number of the change before it.
        """
        if self.are_complete(before):
            self.write(steps)
            self.complete(number)
        else:
            self.distrust()

    def distrust(self) -> None:
        """Have all users planned anew next time, because Kong refused what the rows have."""
        self._run("DELETE FROM kong_rows_made WHERE workspace = :workspace AND tenant = :tenant")

    def write(self, steps: Sequence[Step]) -> None:
        """Change the rows as the steps change Kong's entities."""
        for step in steps:
            if isinstance(step, Upsert) and step.dao == "consumers":
                self._write_consumer(step.entity)
            elif isinstance(step, Upsert) and step.dao in MEMBERSHIPS:
                self._write(step.dao, step.entity, step.entity["consumer"]["id"])
            elif isinstance(step, Delete) and step.dao == "consumers":
                self.remove([step.id])
            elif isinstance(step, Delete) and step.dao in MEMBERSHIPS:
                self._run("DELETE FROM kong_rows WHERE id = :id", id=step.id)

    def remove(self, consumers: Sequence[str]) -> None:
        """Remove the rows of consumers that Kong does not have."""
        self._run(
            "DELETE FROM kong_rows WHERE consumer IN (SELECT value FROM json_each(:consumers))",
            consumers=json.dumps(list(consumers)),
        )

    def clear(self) -> None:
        """Remove all rows of the tenant, before they are made anew."""
        self.distrust()
        self._run("DELETE FROM kong_rows WHERE workspace = :workspace AND tenant = :tenant")

    def complete(self, number: int) -> None:
        """Note that the rows have all changes up to a number."""
        self._run(
            "INSERT OR REPLACE INTO kong_rows_made (workspace, tenant, origin, number)"
            " VALUES (:workspace, :tenant, :origin, :number)",
            origin=self._origin,
            number=number,
        )

    def users(self) -> list[str]:
        """Return the ids of the users that have rows; those that changed last come first.

        A user whose document is damaged is left out.
        """
        found = self._run(
            "SELECT kong_rows.user FROM kong_rows JOIN scim_resources AS its ON its.id = user"
            " WHERE kong_rows.workspace = :workspace AND kong_rows.tenant = :tenant"
            " AND json_valid(its.doc) ORDER BY its.modified DESC, its.id"
        )
        return [user for (user,) in found]

    def others(self, kind: str) -> list[str]:
        """Return the ids of all other users, in the same order.

        :param kind: The resource type of users.
        """
        found = self._run(
            "SELECT id FROM scim_resources"
            " WHERE workspace = :workspace AND tenant = :tenant AND type = :kind AND NOT"
            " (json_valid(doc) AND EXISTS (SELECT 1 FROM kong_rows WHERE user = scim_resources.id))"
            " ORDER BY modified DESC, id",
            kind=kind,
        )
        return [user for (user,) in found]

    def of(
        self, users: Sequence[str], credentials: Callable[[Sequence[str]], Sequence[Upsert]]
    ) -> list[ReadyUser]:
        """Return the rows of some users, in the given order.

        :param credentials: Returns the credentials of some consumers.
        """
        texts: dict[str, list[str]] = {}
        for _, consumer, text in self._run(_OF_USERS, users=json.dumps(list(users))):
            texts.setdefault(consumer, []).append(text)
        for step in credentials(list(texts)):
            text = json.dumps([step.dao, step.entity, None], ensure_ascii=False)
            texts[step.entity["consumer"]["id"]].append(text)
        return [ReadyUser(consumer, f"[{','.join(parts)}]") for consumer, parts in texts.items()]

    def _write_consumer(self, entity: Any) -> None:
        tags = [tag for tag in entity["tags"] if not tag.startswith(EVENT_TAG)]
        user = next(tag for tag in tags if tag.startswith(USER_TAG)).removeprefix(USER_TAG)
        names = {name: entity.get(name) for name in ("username", "custom_id")}
        similar = {
            name: fold(value) for name, value in names.items() if value and fold(value) != value
        }
        self._write("consumers", {**entity, "tags": tags}, entity["id"], user, similar)

    def _write(
        self,
        dao: str,
        entity: Any,
        consumer: str,
        user: str | None = None,
        similar: dict[str, str] | None = None,
    ) -> None:
        self._run(
            "INSERT OR REPLACE INTO kong_rows"
            " (id, workspace, tenant, consumer, user, dao, entity, similar_names)"
            " VALUES (:id, :workspace, :tenant, :consumer, :user, :dao, :entity, :similar)",
            id=entity["id"],
            consumer=consumer,
            user=user,
            dao=dao,
            entity=json.dumps(entity, ensure_ascii=False),
            similar=json.dumps(similar, ensure_ascii=False) if similar else None,
        )

    def _run(self, statement: str, **values: Any) -> sqlite3.Cursor:
        values |= {"workspace": self._scope.workspace, "tenant": self._scope.tenant}
        return self._connection.execute(statement, values)


_OF_USERS = f"""
    SELECT part.user, part.consumer, json_array(
      part.dao,
      CASE WHEN event IS NULL THEN json(part.entity)
           ELSE json_insert(part.entity, '$.tags[#]', '{EVENT_TAG}' || event) END,
      json(part.similar_names))
    FROM json_each(:users) AS given
    JOIN kong_rows AS whole ON whole.user = given.value
    JOIN kong_rows AS part ON part.consumer = whole.consumer
    LEFT JOIN kong_stamps ON kong_stamps.consumer = part.consumer AND part.user IS NOT NULL
      AND kong_stamps.workspace = :workspace AND kong_stamps.tenant = :tenant
    ORDER BY given.key, part.user IS NULL, part.id
"""  # noqa: S608 - the prefix of a tag
