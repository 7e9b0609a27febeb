"""A memory is filled with ready-made rows where they are certain, and by planning where not."""

from __future__ import annotations

from typing import Any

import pytest
from memory_of_kong import CONFIG, GROUP, USER, Gateway, anew, create, planned_anew, set_active

from kong_scim.config.plugin import parse
from kong_scim.dbless.bridge import memory
from kong_scim.dbless.ready_rows import ReadyRows
from kong_scim.sync.consumers import KongConsumerSync


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The userName of each user that was planned to fill a memory, from now on."""
    found: list[str] = []
    plan = KongConsumerSync.reapply

    def reapply(self: KongConsumerSync, users: Any) -> Any:
        found.extend(each.doc["userName"] for each in users)
        return plan(self, users)

    monkeypatch.setattr(KongConsumerSync, "reapply", reapply)
    return found


def run(gateway: Gateway, *statements: str) -> list[tuple[Any, ...]]:
    with memory(gateway.data).store.writing() as transaction:
        return [row for each in statements for row in transaction.connection.execute(each)]


def staff(gateway: Gateway) -> list[Any]:
    """Three users in a group with a key each, of whom the last was disabled."""
    users = [
        create(gateway, f"user-{number}", externalId=f"ID{number}", active=True)
        for number in range(3)
    ]
    create(gateway, "staff", members=[{"value": user.id} for user in users])
    for number, user in enumerate(users):
        gateway.give_key(user.id, str(number))
    set_active(gateway, users[2].id, active=False)
    return users


def test_an_empty_memory_is_filled_without_planning_anybody(
    gateway: Gateway, planned: list[str]
) -> None:
    staff(gateway)
    before = gateway.entities()

    assert anew(gateway) == before
    assert planned == []
    assert planned_anew(gateway) == before
    assert sorted(planned) == ["user-0", "user-1", "user-2"]


def test_who_changed_last_comes_first(gateway: Gateway) -> None:
    users = staff(gateway)
    gateway.storage().patch_members(GROUP, create(gateway, "new").id, add=[users[0].id])

    with memory(gateway.data).store.reading() as transaction:
        rows = ReadyRows(transaction, gateway.database().scope, "")

        assert rows.users()[0] == users[0].id


def test_a_store_of_a_release_without_rows_gets_them_when_it_is_applied_first(
    gateway: Gateway, planned: list[str]
) -> None:
    staff(gateway)
    before = gateway.entities()
    run(gateway, "DROP TABLE kong_rows", "DROP TABLE kong_rows_made")
    gateway.restart_plugin_server()

    assert anew(gateway) == before
    assert len(planned) == 3
    assert anew(gateway) == before
    assert len(planned) == 3


def test_until_then_a_change_makes_no_rows(gateway: Gateway, planned: list[str]) -> None:
    """A change of one group would make a row for that group only."""
    users = staff(gateway)
    run(gateway, "DROP TABLE kong_rows", "DROP TABLE kong_rows_made")
    gateway.restart_plugin_server()

    create(gateway, "more", members=[{"value": users[0].id}])

    assert run(gateway, "SELECT count(*) FROM kong_rows") == [(0,)]
    before = gateway.entities()
    assert anew(gateway) == before
    assert len(planned) == 3


def test_changes_by_a_release_that_makes_no_rows_are_noticed(
    gateway: Gateway, planned: list[str]
) -> None:
    users = staff(gateway)
    rows = run(gateway, "SELECT * FROM kong_rows", "SELECT * FROM kong_rows_made")
    set_active(gateway, users[0].id, active=False)
    before = gateway.entities()
    # As that release would leave them: as they were before the change.
    run(gateway, "DELETE FROM kong_rows", "DELETE FROM kong_rows_made")
    with memory(gateway.data).store.writing() as transaction:
        for row in rows:
            table = "kong_rows" if len(row) > 4 else "kong_rows_made"
            places = ",".join("?" * len(row))
            transaction.connection.execute(f"INSERT INTO {table} VALUES ({places})", row)

    assert anew(gateway) == before
    assert len(planned) == 3


def test_another_mapping_in_the_configuration_plans_anew(
    gateway: Gateway, planned: list[str]
) -> None:
    staff(gateway)
    tokens = [{"name": "idp", "value": "another secret"}]
    gateway.config = parse({"tokens": tokens, "tenant": "a"})
    anew(gateway)
    assert planned == []

    groups = {"prefix": "scim-"}
    gateway.config = parse({"tokens": tokens, "tenant": "a", "groups": groups})
    found = anew(gateway)

    assert len(planned) == 3
    assert {row[2] for row in found["acls"]} == {"scim-staff"}
    assert anew(gateway) == found
    assert len(planned) == 3


def test_a_change_under_an_older_configuration_has_everybody_planned_anew(
    gateway: Gateway, planned: list[str]
) -> None:
    users = staff(gateway)
    gateway.config = parse(
        {"tokens": [{"name": "idp", "value": "s"}], "tenant": "a", "groups": {"prefix": "scim-"}}
    )
    set_active(gateway, users[1].id, active=False)
    gateway.config = CONFIG

    anew(gateway)

    assert len(planned) == 3


def test_a_user_whose_name_was_declared_is_planned_each_time_until_it_is_free(
    gateway: Gateway, planned: list[str]
) -> None:
    users = staff(gateway)
    before = gateway.entities()
    # The second looks the same as the name of a user, and the third is that of another user.
    for name in ("user-0", "USER-0"):
        gateway.load({"username": name})
        gateway.tick()
        refused = {users[0].id} if name == "user-0" else set()
        found = {row[0] for row in gateway.entities()["consumers"]}
        assert found.isdisjoint(refused)
        assert {users[1].id, users[2].id} <= found

    assert planned[0] == "user-0"
    assert anew(gateway) == before


def test_a_user_who_gets_another_name_instead_has_rows_again(
    gateway: Gateway, planned: list[str]
) -> None:
    user = create(gateway, "user-alice", active=True)
    create(gateway, "staff", members=[{"value": user.id}])
    gateway.load({"username": "user-alice"})
    gateway.tick()
    storage = gateway.storage()
    found = storage.get(USER, user.id)
    found.user_name = "user-alicia"
    storage.update(USER, found)
    before = gateway.entities()
    planned.clear()

    gateway.load({"username": "user-alice"})
    gateway.tick()

    assert gateway.entities()["acls"] == before["acls"] != []
    assert planned == []


def test_a_user_who_was_deleted_while_the_name_was_declared_does_not_come_back(
    gateway: Gateway,
) -> None:
    user = create(gateway, "user-alice", active=True)
    gateway.load({"username": "user-alice"})
    gateway.tick()
    gateway.storage().delete(USER, user.id)

    assert anew(gateway)["consumers"] == []
