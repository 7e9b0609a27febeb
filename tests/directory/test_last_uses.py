"""When tokens were last used, and one warning of each expiry, however many nodes there are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from directory_support import new_scope

from kong_scim.bridge import BridgeError, Sql, bridge_error
from kong_scim.directory.database import Database, Scope, TenantDatabase
from kong_scim.events.credential_uses import BETWEEN_WRITES, Callers, Expiring, last_uses

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Node:
    """A plugin server of its own, on a clock of the test's."""

    def __init__(self, db: Database, scope: Scope, **days: float) -> None:
        self.db, self.scope, self.now, self.seconds = db, scope, NOW, 0.0
        self.used: dict[str, datetime] = {}
        expiring = []
        for name, left in days.items():
            at = NOW + timedelta(days=left)
            expiring.append(Expiring(name, f"{at:%Y-%m-%dT%H:%M:%SZ}", at.timestamp()))
        self.callers = Callers(expiring, clock=lambda: self.seconds, now=lambda: self.now)

    def tick(self) -> None:
        self.callers.run(TenantDatabase(self.db, self.scope), lambda: self.used)

    def warnings(self) -> list[tuple[str, str]]:
        """Return token and expiry of each event that waits in the outbox."""
        text = "SELECT resource_id, doc FROM scim_outbox WHERE tenant = $1 ORDER BY position"
        (rows,) = self.db.query([Sql(text, (self.scope.tenant,))])
        documents: list[tuple[str, dict[str, Any]]] = [
            (row["resource_id"], json.loads(row["doc"])) for row in rows
        ]
        assert {each["operation"] for _, each in documents} <= {"expiry-warning"}
        return [(name, document["values"][0]["value"]) for name, document in documents]


@pytest.fixture
def scope() -> Scope:
    return new_scope()


def test_a_token_is_warned_of_from_fourteen_days_before_its_expiry_on(
    database: Database, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(database, scope, soon=13.9, later=15, gone=-1)
    for _ in range(3):
        node.tick()
    assert [name for name, _ in node.warnings()] == ["soon"]
    assert caplog.text.count("token soon expires at") == 1
    node.now += timedelta(days=2)
    node.tick()
    assert [name for name, _ in node.warnings()] == ["soon", "later"]


def test_in_a_cluster_and_after_a_restart_there_is_one_warning_of_an_expiry(
    database: Database, scope: Scope
) -> None:
    for _ in range(2):
        Node(database, scope, idp=5).tick()
    assert len(Node(database, scope).warnings()) == 1
    Node(database, scope, idp=6).tick()  # another expiry
    assert len(Node(database, scope).warnings()) == 2


def test_a_warning_that_could_not_be_written_comes_with_a_later_tick(
    database: Database, scope: Scope
) -> None:
    class Gone:
        dialect = database.dialect

        def query(self, statements: Any, **_: Any) -> Any:
            raise bridge_error("DATABASE", "gone")

        commit = query

    node = Node(database, scope, idp=5)
    node.db = Gone()
    with pytest.raises(BridgeError):
        node.tick()
    node.db = database
    node.tick()
    assert len(node.warnings()) == 1


def test_the_last_use_is_the_latest_of_all_nodes(database: Database, scope: Scope) -> None:
    early, late = Node(database, scope), Node(database, scope)
    early.used = {"idp": NOW, "jwt:client": NOW}
    late.used = {"idp": NOW + timedelta(hours=1)}
    for node in (late, early):
        node.tick()
    found = last_uses(TenantDatabase(database, scope))
    assert found["idp"] == "2026-06-01T01:00:00.000000+00:00"
    assert found["jwt:client"] == "2026-06-01T00:00:00.000000+00:00"
    newest = last_uses(TenantDatabase(database, scope), {"idp": NOW + timedelta(hours=2)})
    assert newest["idp"].startswith("2026-06-01T02")
    assert last_uses(TenantDatabase(database, new_scope())) == {}


def test_uses_are_written_once_a_minute_and_where_there_are_new_ones(
    database: Database, scope: Scope
) -> None:
    class Counting:
        dialect, query = database.dialect, database.query
        commits = 0

        def commit(self, steps: Any) -> Any:
            self.commits += 1
            return database.commit(steps)

    node = Node(database, scope)
    counting = node.db = Counting()
    for second in range(4 * int(BETWEEN_WRITES)):
        node.seconds = second
        if second < 2 * BETWEEN_WRITES:
            node.used = {"idp": NOW + timedelta(seconds=second)}
        node.tick()
    assert counting.commits == 3
    assert last_uses(TenantDatabase(database, scope))["idp"].startswith("2026-06-01T00:01:59")
