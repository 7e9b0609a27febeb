"""Writers that wait at the same time are stored together, and each keeps its own outcome."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from memory_of_kong import USER, Gateway, StoppedError, anew, new

from hosts import eventually
from kong_scim import cpu
from kong_scim.bridge import (
    BridgeError,
    LastEventTag,
    Sql,
    Step,
    TransactionConflictError,
    Upsert,
)
from kong_scim.dbless import group_commit
from kong_scim.dbless.bridge import memory

NOTE = "INSERT INTO notes (name) VALUES ($1)"


@pytest.fixture
def together(gateway: Gateway) -> Callable[..., list[Future[Any]]]:
    """Run functions in threads of their own, whose commits wait for each other in this order."""

    def run(*functions: Callable[[], Any]) -> list[Future[Any]]:
        known = memory(gateway.data)
        with ThreadPoolExecutor(len(functions)) as pool, known.store.turn(1):
            futures = []
            for number, function in enumerate(functions, 1):
                futures.append(pool.submit(function))
                eventually(lambda number=number: _waiting(gateway) == number, "the writer")
        return futures

    return run


def _waiting(gateway: Gateway) -> int:
    return sum(len(queue._waiting) for queue in memory(gateway.data)._queues.values())


def changes(gateway: Gateway) -> int:
    """The number of the last change that Kong was given."""
    with memory(gateway.data).store.reading() as transaction:
        ((number,),) = transaction.connection.execute("SELECT max(number) FROM kong_told")
        return int(number or 0)


def creating(gateway: Gateway, name: str) -> Callable[[], Any]:
    storage = gateway.storage()
    return lambda: storage.create(USER, new(name))


def committing(gateway: Gateway, *steps: Step) -> Callable[[], Any]:
    database = gateway.database()
    return lambda: database.commit(steps)


def consumer(name: str) -> Upsert:
    identifier = str(uuid.uuid4())
    tags = ["scim", "scim:a", f"scim-user:{identifier}"]
    return Upsert("consumers", {"id": identifier, "username": name, "tags": tags})


@pytest.fixture
def notes(gateway: Gateway) -> Callable[[], list[str]]:
    """A table of the store; return what was written into it."""
    with memory(gateway.data).store.writing() as transaction:
        transaction.connection.execute("CREATE TABLE notes (name TEXT PRIMARY KEY)")

    def read() -> list[str]:
        rows = memory(gateway.data).store.query([Sql("SELECT name FROM notes ORDER BY name")])[0]
        return [row["name"] for row in rows]

    return read


def names(gateway: Gateway) -> list[str]:
    return sorted(row[1] for row in gateway.entities()["consumers"])


def test_writers_that_wait_together_are_one_change_to_kong(
    gateway: Gateway, together: Callable[..., list[Future[Any]]]
) -> None:
    before = changes(gateway)

    made = together(*(creating(gateway, f"user-{number}") for number in range(5)))

    assert {future.result().user_name for future in made} == set(names(gateway))
    assert len(names(gateway)) == 5
    # The first took the turn before the others could join it, or led all of them.
    assert changes(gateway) - before <= 2
    assert gateway.entities() == anew(gateway)


def test_each_consumer_has_the_tag_of_its_own_event(
    gateway: Gateway, together: Callable[..., list[Future[Any]]]
) -> None:
    writers = [
        committing(gateway, consumer(f"user-{number}"), LastEventTag(f"event-{number}"))
        for number in range(3)
    ]

    results = [future.result() for future in together(*writers)]

    for number, row in enumerate(sorted(gateway.entities()["consumers"], key=lambda row: row[1])):
        assert f'"scim-event:event-{number}"' in row[3]
        assert row[3].count("scim-event:") == 1
        assert results[number][1].data == [{"id": row[0]}]


def test_a_writer_whose_guard_does_not_hold_fails_alone(
    gateway: Gateway,
    together: Callable[..., list[Future[Any]]],
    notes: Callable[[], list[str]],
) -> None:
    guard = Sql("SELECT 1 WHERE 0", rows=1)

    first, second, third = together(
        committing(gateway, Sql(NOTE, ("first",)), consumer("user-1")),
        committing(gateway, Sql(NOTE, ("second",)), guard, consumer("user-2")),
        committing(gateway, Sql(NOTE, ("third",)), consumer("user-3")),
    )

    assert first.exception() is third.exception() is None
    refused = second.exception()
    assert isinstance(refused, BridgeError)
    assert (refused.name, refused.step) == ("ROW_COUNT", 1)
    assert notes() == ["first", "third"]
    assert names(gateway) == ["user-1", "user-3"]


@pytest.mark.parametrize("last", [(), (Sql("SELECT 1 WHERE 0", rows=1),)])
def test_a_writer_that_kong_or_its_last_statement_refuses_fails_alone(
    gateway: Gateway,
    together: Callable[..., list[Future[Any]]],
    notes: Callable[[], list[str]],
    last: Sequence[Step],
) -> None:
    """Then the first statements of the others have run already."""
    broken = consumer("user-2") if last else Upsert("consumers", {"id": "no id", "tags": []})

    first, second, third = together(
        committing(gateway, Sql(NOTE, ("first",)), consumer("user-1")),
        committing(gateway, Sql(NOTE, ("second",)), broken, *last),
        committing(gateway, Sql(NOTE, ("third",)), consumer("user-3")),
    )

    assert first.exception() is third.exception() is None
    refused = second.exception()
    assert refused is not None
    assert getattr(refused, "step", 2 if last else 1) == (2 if last else 1)
    assert notes() == ["first", "third"]
    assert names(gateway) == ["user-1", "user-3"]


def test_of_two_writers_with_the_same_name_the_first_has_it(
    gateway: Gateway, together: Callable[..., list[Future[Any]]]
) -> None:
    first, second = together(
        committing(gateway, consumer("user-1")), committing(gateway, consumer("user-1"))
    )

    assert first.exception() is None
    assert second.exception() is not None
    assert names(gateway) == ["user-1"]


@pytest.mark.parametrize("point", ["before commit 1", "after commit 1"])
def test_a_group_that_is_cut_off_before_it_is_stored_is_not_made(
    gateway: Gateway, together: Callable[..., list[Future[Any]]], point: str
) -> None:
    _cut_off(gateway, together, point)

    assert names(gateway) == []
    assert gateway.every_user().count() == 0


@pytest.mark.parametrize("point", ["before commit 2", "after commit 2"])
def test_a_group_that_is_cut_off_when_it_is_stored_is_made_whole(
    gateway: Gateway, together: Callable[..., list[Future[Any]]], point: str
) -> None:
    _cut_off(gateway, together, point)

    assert names(gateway) == ["user-0", "user-1", "user-2"]
    assert gateway.every_user().count() == 3
    assert gateway.entities() == anew(gateway)


def _cut_off(gateway: Gateway, together: Callable[..., list[Future[Any]]], point: str) -> None:
    writers = [creating(gateway, f"user-{number}") for number in range(3)]
    gateway.stop_at = point
    with contextlib.suppress(StoppedError):
        for future in together(*writers):
            future.exception()
    gateway.restart_plugin_server()
    gateway.tick()


def test_a_revocation_comes_first_and_without_the_steps_of_others(
    gateway: Gateway, together: Callable[..., list[Future[Any]]]
) -> None:
    seen: list[list[str]] = []
    gateway.storage()  # from here on its calls are counted: a check, a write, and the next check
    gateway.before["commit 3"] = lambda: seen.append(names(gateway))
    others = [committing(gateway, consumer(f"user-{number}")) for number in range(3)]
    urgent = committing(gateway, consumer("urgent"))

    def revoke() -> None:
        with cpu.allowed(60, gives_way=False):
            urgent()

    for future in together(*others, revoke):
        future.result()

    assert seen == [["urgent"]]
    assert names(gateway) == ["urgent", "user-0", "user-1", "user-2"]


def test_a_group_has_a_limit(
    gateway: Gateway,
    together: Callable[..., list[Future[Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "MOST_WRITERS", 2)
    before = changes(gateway)

    for future in together(*(creating(gateway, f"user-{number}") for number in range(6))):
        future.result()

    assert changes(gateway) - before >= 3
    assert len(names(gateway)) == 6


def test_steps_that_follow_from_consumers_which_kong_did_not_have_yet_are_a_conflict(
    gateway: Gateway,
) -> None:
    """Else a deactivation would find no consumer, and revoke nothing."""
    user = gateway.storage().create(USER, new("user-ann"))
    gateway.load()
    request = gateway._provisioning()._gateway()
    assert request.query(consumer_ids=[str(user.id)]).consumers == []
    gateway.tick()
    with pytest.raises(TransactionConflictError):
        request.commit([consumer("bob")])
    assert len(request.query(consumer_ids=[str(user.id)]).consumers) == 1
    request.commit([consumer("bob")])
