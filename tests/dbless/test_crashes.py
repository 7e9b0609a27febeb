"""Wherever a plugin server is killed and whenever Kong loses its memory, a tick puts it right."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from memory_of_kong import (
    GROUP,
    USER,
    Gateway,
    StoppedError,
    anew,
    create,
    planned_anew,
    running,
    set_active,
)

from effort import examples
from hosts import eventually
from kong_scim.bridge import BridgeError, Delete, Sql
from kong_scim.dbless import bridge, reapply
from kong_scim.dbless.bridge import memory
from kong_scim.dbless.local_store import LocalStore, StoreError

POINTS = ["before commit 1", "after commit 1", "before commit 2", "after commit 2"]
"""A write checks with its first commit, and writes with its second."""

LASTS = {"before commit 1": False, "after commit 1": False}
"""Whether a write that is stopped there is one that was made; where nothing is said, it is."""


@pytest.mark.parametrize("point", POINTS)
def test_a_write_that_is_cut_off_is_made_whole_or_not_at_all(gateway: Gateway, point: str) -> None:
    user = create(gateway, "user-alice", externalId="00u1")
    create(gateway, "staff", members=[{"value": user.id}])
    gateway.give_key(user.id, "1")
    before = gateway.entities()

    gateway.stop_at = point
    with pytest.raises(StoppedError):
        set_active(gateway, user.id, active=False)
    gateway.restart_plugin_server()
    gateway.tick()

    made = LASTS.get(point, True)
    assert gateway.storage().get(USER, user.id).active is not made
    if made:
        assert gateway.entities()["keyauth_credentials"] == gateway.entities()["acls"] == []
        assert "scim:suspended" in gateway.entities()["consumers"][0][3]
    else:
        assert gateway.entities() == before
    assert gateway.entities() == anew(gateway)


def test_while_something_is_pending_nothing_else_is_written(gateway: Gateway) -> None:
    user = create(gateway, "user-alice")
    gateway.stop_at = "before commit 2"
    with pytest.raises(StoppedError):
        set_active(gateway, user.id, active=False)
    gateway.restart_plugin_server()

    with pytest.raises(BridgeError) as refused:
        set_active(gateway, user.id, active=True)

    assert refused.value.name == "EPOCH_CHANGED"
    gateway.tick()
    set_active(gateway, user.id, active=True)
    assert gateway.entities() == anew(gateway)


def test_a_stored_user_that_cannot_be_read_keeps_no_other_from_a_kong_that_lost_its_memory(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Else one damaged row would lock everybody out, and no deactivation would be told of."""
    alice, bob = create(gateway, "user-alice"), create(gateway, "user-bob")
    damage = Sql("UPDATE scim_resources SET doc = $1 WHERE id = $2", ("{", bob.id))
    gateway.database().commit([damage])

    gateway.load()
    gateway.tick()

    assert [row[1] for row in gateway.entities()["consumers"]] == ["user-alice"]
    assert f"user {bob.id} cannot be read" in caplog.text
    set_active(gateway, alice.id, active=False)
    assert "scim:suspended" in gateway.entities()["consumers"][0][3]


def test_a_kong_that_lost_its_memory_takes_no_write_before_it_has_everything(
    gateway: Gateway,
) -> None:
    create(gateway, "user-alice")
    gateway.load()

    with pytest.raises(BridgeError) as refused:
        create(gateway, "user-bob")

    assert refused.value.name == "EPOCH_CHANGED"
    assert gateway.every_user().count() == 1
    gateway.tick()
    create(gateway, "user-bob")
    assert len(gateway.entities()["consumers"]) == 2


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have few users fill several batches."""
    monkeypatch.setattr(reapply, "BATCH", 20)
    monkeypatch.setattr(reapply, "READY_BATCH", 20)


@pytest.mark.usefixtures("small_batches")
def test_a_memory_that_is_lost_while_it_is_filled_is_filled_from_the_start(
    gateway: Gateway,
) -> None:
    for number in range(50):
        create(gateway, f"user-{number}")
    wanted = gateway.entities()
    gateway.load()
    gateway.stop_at = "before commit 3"  # the first takes the old epoch away
    with pytest.raises(StoppedError):
        gateway.tick()
    assert 0 < len(gateway.entities()["consumers"]) < 50
    gateway.restart_plugin_server()
    gateway.load()

    gateway.tick()

    assert gateway.entities() == wanted


@pytest.mark.usefixtures("small_batches")
def test_a_plugin_server_that_dies_while_it_fills_the_memory_begins_again(
    gateway: Gateway,
) -> None:
    for number in range(30):
        create(gateway, f"user-{number}")
    wanted = gateway.entities()
    gateway.load()
    gateway.stop_at = "after commit 2"
    with pytest.raises(StoppedError):
        gateway.tick()
    gateway.restart_plugin_server()

    gateway.tick()

    assert gateway.entities() == wanted


def test_a_declared_consumer_keeps_its_name_and_the_rest_goes_on(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob = create(gateway, "user-alice"), create(gateway, "user-bob")
    gateway.load({"username": "user-alice"})
    declared = gateway.entities()["consumers"]

    gateway.tick()

    consumers = gateway.entities()["consumers"]
    assert declared[0] in consumers
    assert {each[0] for each in consumers} == {declared[0][0], bob.id}
    (error,) = (each.getMessage() for each in caplog.records if each.levelname == "ERROR")
    assert alice.id in error
    assert "user-alice" in error
    assert "declarative configuration" in error
    gateway.load()
    gateway.tick()
    assert {each[0] for each in gateway.entities()["consumers"]} == {alice.id, bob.id}


def test_a_declared_consumer_with_a_users_own_id_is_left_alone(gateway: Gateway) -> None:
    alice = create(gateway, "user-alice")
    gateway.load({"id": alice.id, "username": "somebody"})
    declared = gateway.entities()

    gateway.tick()

    assert gateway.entities() == declared


def test_a_store_that_was_lost_leaves_nobody_in_kong(gateway: Gateway) -> None:
    user = create(gateway, "user-alice")
    gateway.give_key(user.id, "1")
    gateway.restart_plugin_server()
    for file in gateway.data.iterdir():
        file.unlink()

    gateway.tick()

    assert all(rows == [] for rows in gateway.entities().values())


def test_keys_are_given_back_to_who_may_have_them(gateway: Gateway) -> None:
    alice, bob = create(gateway, "user-alice"), create(gateway, "user-bob")
    carol = create(gateway, "user-carol")
    for number, user in enumerate((alice, bob, carol)):
        gateway.give_key(user.id, str(number))
    set_active(gateway, bob.id, active=False)
    gateway.storage().delete(USER, carol.id)

    found = anew(gateway)["keyauth_credentials"]

    assert [(consumer, key) for _, consumer, key in found] == [(alice.id, "0")]


def test_a_key_does_not_get_younger_by_a_restart(gateway: Gateway) -> None:
    alice = create(gateway, "user-alice")
    now = int(time.time())
    gateway.give_key(alice.id, "1", created_at=now - 100, ttl=50)
    gateway.give_key(alice.id, "2", created_at=now - 100, ttl=5000)

    ((_, _, key),) = anew(gateway)["keyauth_credentials"]

    assert key == "2"
    ((left,),) = gateway.kong.entities.execute("SELECT ttl FROM keyauth_credentials").fetchall()
    assert 4000 < left <= 4900


def test_a_key_that_was_taken_away_does_not_come_back(gateway: Gateway) -> None:
    alice = create(gateway, "user-alice")
    gateway.give_key(alice.id, "1")
    ((identifier, _, _),) = gateway.entities()["keyauth_credentials"]
    gateway.change_credential(Delete("keyauth_credentials", identifier))

    assert anew(gateway)["keyauth_credentials"] == []


def test_a_directory_that_another_server_has_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    with contextlib.closing(LocalStore(tmp_path / "d")), pytest.raises(StoreError) as refused:
        LocalStore(tmp_path / "d")

    assert "another plugin server" in str(refused.value)


def test_what_lasts_is_for_its_owner_only_and_durable(gateway: Gateway) -> None:
    create(gateway, "user-alice")

    for path in (gateway.data, *gateway.data.glob("scim.sqlite*")):
        assert path.stat().st_mode & 0o077 == 0, path
    with memory(gateway.data).store.writing() as transaction:
        assert transaction.run(Sql("PRAGMA synchronous")).data == [{"synchronous": 2}]


OPERATIONS = st.sampled_from(["create", "off", "on", "join", "rename", "delete", "key", "load"])


@settings(max_examples=examples(25), deadline=None)
@example(operations=[("create", 0, None), ("off", 0, None), ("key", 0, None)])
@given(
    operations=st.lists(
        st.tuples(OPERATIONS, st.integers(0, 3), st.none() | st.sampled_from(POINTS)), max_size=14
    )
)
def test_after_any_sequence_with_any_stops_kong_is_what_it_would_be_if_it_were_given_all_anew(
    operations: list[tuple[str, int, str | None]],
) -> None:
    with running() as gateway:
        group = create(gateway, "staff")
        users: list[str] = []
        for number, (operation, which, point) in enumerate(operations):
            gateway.stop_at = point
            with contextlib.suppress(StoppedError):
                _operate(gateway, (operation, which, number), users, str(group.id))
            if point is not None or operation == "load":
                gateway.restart_plugin_server()
                gateway.tick()
        consumers = {row[0] for row in gateway.entities()["consumers"]}
        batches = gateway.every_user().batches(100)
        assert consumers == {each.row.id for batch in batches for each in batch}
        found = gateway.entities()
        assert found == anew(gateway) == planned_anew(gateway) == anew(gateway)


def _operate(gateway: Gateway, step: tuple[str, int, int], users: list[str], group: str) -> None:
    operation, which, number = step
    if operation == "create":
        users.append(str(create(gateway, f"user-{number}").id))
        return
    if operation == "load":
        gateway.load()
        return
    if not users:
        return
    storage = gateway.storage()
    user_id = users[which % len(users)]
    if operation == "delete":
        users.remove(user_id)
        storage.delete(USER, user_id)
    elif operation == "join":
        storage.patch_members(GROUP, group, add=[user_id])
    elif operation == "key":
        gateway.give_key(user_id, str(number))
    else:
        user: Any = storage.get(USER, user_id)
        user.active = {"off": False, "on": True}.get(operation, user.active)
        user.user_name = f"user-{number}" if operation == "rename" else user.user_name
        storage.update(USER, user)


def test_a_write_that_waited_is_worked_out_again_from_what_kong_has_now(gateway: Gateway) -> None:
    """What was planned against an empty Kong would leave the ACL group that it is given again."""
    user = create(gateway, "user-alice")
    group = create(gateway, "staff", members=[{"value": user.id}])
    gateway.load()

    with ThreadPoolExecutor(1) as pool:
        storage = gateway.storage()
        leaving = pool.submit(storage.patch_members, GROUP, str(group.id), remove=[str(user.id)])
        eventually(gateway.is_waited_for, "the write to wait for Kong")
        gateway.tick()
        leaving.result()

    assert gateway.entities()["acls"] == []
    assert gateway.entities() == anew(gateway)


def test_a_change_whose_kong_loads_a_configuration_meanwhile_is_answered_when_kong_was_told(
    gateway: Gateway,
) -> None:
    gateway.before["commit 2"] = gateway.load

    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(create, gateway, "user-alice")
        eventually(gateway.is_waited_for, "the write to wait for Kong")
        gateway.before.clear()
        gateway.tick()
        alice = made.result()

    assert [row[0] for row in gateway.entities()["consumers"]] == [alice.id]


def test_a_change_that_is_stored_and_that_kong_does_not_take_in_time_says_so(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "PATIENCE", 0.1)
    gateway.before["commit 2"] = gateway.load

    with pytest.raises(BridgeError) as refused:
        create(gateway, "user-alice")

    assert refused.value.name == "PENDING"
    assert gateway.every_user().count() == 1
    assert gateway.entities()["consumers"] == []
    gateway.before.clear()
    gateway.tick()
    assert [row[1] for row in gateway.entities()["consumers"]] == ["user-alice"]


def test_a_pending_change_that_kong_refuses_by_now_still_takes_access_away(
    gateway: Gateway,
) -> None:
    alice = create(gateway, "user-alice")
    gateway.give_key(alice.id, "1")
    gateway.stop_at = "before commit 2"
    storage = gateway.storage()
    user: Any = storage.get(USER, alice.id)
    user.active, user.user_name = False, "user-bob"
    with pytest.raises(StoppedError):
        storage.update(USER, user)
    gateway.restart_plugin_server()
    with gateway.kong.writing() as connection:  # as if it had been declared meanwhile
        connection.execute("INSERT INTO consumers VALUES ('x', 'user-bob', NULL, NULL, 1, 1)")

    gateway.tick()

    assert gateway.entities()["keyauth_credentials"] == []


def test_a_store_that_is_put_back_from_a_copy_is_noticed_by_a_kong_that_runs_on(
    gateway: Gateway,
) -> None:
    alice = create(gateway, "user-alice")
    gateway.give_key(alice.id, "1")
    set_active(gateway, alice.id, active=False)
    with contextlib.closing(sqlite3.connect(gateway.data / "scim.sqlite")) as connection:
        connection.execute("VACUUM INTO ?", [str(gateway.data / "copy")])
    set_active(gateway, alice.id, active=True)
    gateway.give_key(alice.id, "2")
    create(gateway, "user-bob")
    gateway.restart_plugin_server()
    for file in gateway.data.glob("scim.sqlite*"):
        file.unlink()
    (gateway.data / "copy").rename(gateway.data / "scim.sqlite")

    gateway.tick()

    assert [row[1] for row in gateway.entities()["consumers"]] == ["user-alice"]
    assert "scim:suspended" in gateway.entities()["consumers"][0][3]
    assert gateway.entities()["keyauth_credentials"] == []
    assert gateway.entities() == anew(gateway)
