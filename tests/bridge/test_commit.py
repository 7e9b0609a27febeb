"""A commit is everything or nothing, over SQL and Kong's entities; errors say what failed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from probe import Probe, eventually
from steps import acl, consumer, new_id

from kong_process import KongProcess, requires_kong
from kong_scim.bridge import (
    BRIDGE_VERSION,
    BridgeError,
    Delete,
    EntityCounts,
    Revoke,
    RollbackDryRun,
    Sql,
    Step,
    Upsert,
)
from postgres import Postgres

pytestmark = requires_kong


@pytest.fixture(scope="module", autouse=True)
def tables(probe: Probe, postgres: Postgres) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE TABLE item (id text PRIMARY KEY, n int NOT NULL DEFAULT 0)")
        connection.execute("CREATE TABLE part (id text REFERENCES item (id) NOT NULL)")


def insert(identifier: str) -> Sql:
    return Sql("INSERT INTO item (id) VALUES ($1)", (identifier,), rows=1)


def count(postgres: Postgres, identifier: str) -> Any:
    with postgres.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM item WHERE id = %s", (identifier,)
        ).fetchone()
    return row and row[0]


# -- What is written -------------------------------------------------------


def test_sql_and_entities_are_written_together(probe: Probe, postgres: Postgres) -> None:
    name, identifier = new_id(), new_id()
    results = probe.bridge.commit(
        [insert(name), consumer(name, identifier), acl(identifier, "staff")]
    )
    assert [result.rows for result in results] == [1, 0, 0]
    assert [result.entities for result in results] == [{}, {"consumers": 1}, {"acls": 1}]
    assert count(postgres, name) == 1
    assert (probe.get(f"/consumers/{identifier}") or {})["username"] == name
    assert (probe.get(f"/consumers/{identifier}/acls") or {})["data"][0]["group"] == "staff"


def test_sql_alone_is_written(probe: Probe, postgres: Postgres) -> None:
    name = new_id()
    probe.bridge.commit([insert(name)])
    assert count(postgres, name) == 1


def test_what_is_undone_is_counted_and_not_kept_and_what_comes_after_it_is(
    probe: Probe, postgres: Postgres
) -> None:
    undone, kept, identifier = new_id(), new_id(), new_id()
    alice = probe.post("/consumers", username=new_id())["id"]
    key = probe.post(f"/consumers/{alice}/key-auth")["key"]
    results = probe.bridge.commit(
        [
            insert(undone),
            consumer(new_id(), identifier),
            Revoke(alice),
            RollbackDryRun(),
            insert(kept),
            Sql("SELECT $1::text AS written", (EntityCounts(),)),
        ]
    )
    assert [result.entities for result in results[1:3]] == [
        {"consumers": 1},
        {"keyauth_credentials": 1},
    ]
    assert json.loads(results[-1].data[0]["written"]) == {
        "upsert": {"consumers": 1},
        "revoke": {"keyauth_credentials": 1},
    }
    assert (count(postgres, undone), count(postgres, kept)) == (0, 1)
    assert probe.get(f"/consumers/{identifier}") is None
    left = (probe.get(f"/consumers/{alice}/key-auth") or {})["data"]
    assert [each["key"] for each in left] == [key]
    told = "SELECT count(*) FROM cluster_events WHERE data LIKE '%%' || %s || '%%'"
    with postgres.connect() as connection:
        assert connection.execute(told, (identifier,)).fetchone() == (0,)


def test_what_fails_before_it_is_undone_fails_as_a_whole(probe: Probe, postgres: Postgres) -> None:
    name = new_id()
    taken = probe.post("/consumers", username=new_id())["username"]
    with pytest.raises(BridgeError) as refused:
        probe.bridge.commit([consumer(taken), RollbackDryRun(), insert(name)])
    assert (refused.value.name, refused.value.step) == ("unique constraint violation", 0)
    assert count(postgres, name) == 0


def test_an_upsert_changes_the_given_fields_and_keeps_the_others(probe: Probe) -> None:
    before = probe.post("/consumers", username=new_id(), custom_id=new_id(), tags=["mine"])
    name = new_id()
    probe.bridge.commit([consumer(name, before["id"], tags=["mine", "scim"])])
    after = probe.get(f"/consumers/{before['id']}") or {}
    assert after["username"] == name
    assert after["tags"] == ["mine", "scim"]
    assert after["custom_id"] == before["custom_id"]
    assert after["created_at"] == before["created_at"]


def test_a_null_clears_a_field(probe: Probe) -> None:
    before = probe.post("/consumers", username=new_id(), custom_id=new_id())
    probe.bridge.commit([consumer(before["username"], before["id"], custom_id=None)])
    assert (probe.get(f"/consumers/{before['id']}") or {})["custom_id"] is None


def test_a_group_that_is_there_already_is_left_alone(probe: Probe) -> None:
    owner = probe.post("/consumers", username=new_id())
    mine = probe.post(f"/consumers/{owner['id']}/acls", group="staff", tags=["by-hand"])
    results = probe.bridge.commit(
        [
            acl(owner["id"], "staff", unless_present=True),
            acl(owner["id"], "dev", unless_present=True),
        ]
    )
    assert [result.entities for result in results] == [{}, {"acls": 1}]
    acls = (probe.get(f"/consumers/{owner['id']}/acls") or {})["data"]
    assert {entry["group"]: entry["tags"] for entry in acls} == {"staff": mine["tags"], "dev": None}


def test_deleting_what_is_not_there_is_fine(probe: Probe) -> None:
    results = probe.bridge.commit([Delete("consumers", new_id()), Revoke(new_id())])
    assert [result.entities for result in results] == [{}, {}]


def test_a_deletion_counts_what_it_cascades_to(probe: Probe) -> None:
    owner = probe.post("/consumers", username=new_id())
    probe.post(f"/consumers/{owner['id']}/acls", group="staff")
    probe.post(f"/consumers/{owner['id']}/key-auth", key=new_id())
    (result,) = probe.bridge.commit([Delete("consumers", owner["id"])])
    assert result.entities == {"consumers": 1, "acls": 1, "keyauth_credentials": 1}


def test_no_steps_are_no_change(probe: Probe) -> None:
    assert probe.bridge.commit([]) == []


def test_a_step_sees_what_an_earlier_one_wrote(probe: Probe) -> None:
    name = new_id()
    results = probe.bridge.commit(
        [insert(name), Sql("SELECT id, n FROM item WHERE id = $1", (name,), rows=1)]
    )
    assert results[1].data == [{"id": name, "n": 0}]


# -- All or nothing --------------------------------------------------------

Failing = Callable[[Probe, str], Step]

FAILURES: dict[str, tuple[Failing, str, int]] = {
    "SQL that PostgreSQL refuses": (lambda p, n: Sql("SELEC 1"), "BAD_REQUEST", 0),
    "a division by zero": (lambda p, n: Sql("SELECT 1/0"), "BAD_REQUEST", 0),
    "a unique violation in SQL": (lambda p, n: insert(n), "unique constraint violation", 5),
    "a foreign key violation in SQL": (
        lambda p, n: Sql("INSERT INTO part (id) VALUES ($1)", (new_id(),)),
        "foreign key violation",
        4,
    ),
    "a serialization failure": (
        lambda p, n: Sql("DO $x$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $x$"),
        "CONFLICT",
        0,
    ),
    "a lost connection": (
        lambda p, n: Sql("SELECT pg_terminate_backend(pg_backend_pid())", rows=1),
        "DATABASE",
        0,
    ),
    "a guard on an update": (
        lambda p, n: Sql("UPDATE item SET n = 1 WHERE id = $1", (new_id(),), rows=1),
        "ROW_COUNT",
        0,
    ),
    "a guard on a select": (
        lambda p, n: Sql("SELECT 1 FROM item WHERE id = $1", (n,), rows=0),
        "ROW_COUNT",
        0,
    ),
    "a name that is taken": (
        lambda p, n: consumer(p.post("/consumers", username=new_id())["username"]),
        "unique constraint violation",
        5,
    ),
    "a consumer that is not there": (lambda p, n: acl(new_id(), "g"), "foreign key violation", 4),
    "an entity against its schema": (
        lambda p, n: consumer("x", colour="red"),
        "schema violation",
        2,
    ),
    "a tag with a comma": (lambda p, n: consumer("x", tags=["a,b"]), "schema violation", 2),
    "an id that is none": (lambda p, n: consumer("x", "1"), "invalid primary key", 1),
    "an entity without an id": (lambda p, n: Upsert("consumers", {}), "BAD_REQUEST", 0),
    "an entity Kong does not know": (lambda p, n: Upsert("nobody", {"id": n}), "BAD_REQUEST", 0),
    "a deletion Kong does not know": (lambda p, n: Delete("nobody", n), "BAD_REQUEST", 0),
    "a value that is missing": (lambda p, n: Sql("SELECT $1, $2", (1,)), "BAD_REQUEST", 0),
    "unless_present without a key": (
        lambda p, n: Upsert("consumers", {"id": new_id()}, unless_present=True),
        "BAD_REQUEST",
        0,
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_leaves_nothing_of_the_steps_before_it(
    probe: Probe, postgres: Postgres, failure: str
) -> None:
    make, name, code = FAILURES[failure]
    owner = probe.post("/consumers", username=new_id())
    key = probe.post(f"/consumers/{owner['id']}/key-auth", key=new_id())
    item, created = new_id(), new_id()
    steps: list[Step] = [
        insert(item),
        consumer(created, created),
        consumer(new_id(), owner["id"]),
        acl(owner["id"], "staff"),
        Revoke(owner["id"]),
        make(probe, item),
    ]
    with pytest.raises(BridgeError) as raised:
        probe.bridge.commit(steps)
    assert (raised.value.name, raised.value.code) == (name, code), raised.value.message
    assert raised.value.step == len(steps) - 1
    assert count(postgres, item) == 0
    assert probe.get(f"/consumers/{created}") is None
    assert (probe.get(f"/consumers/{owner['id']}") or {})["username"] == owner["username"]
    assert (probe.get(f"/consumers/{owner['id']}/acls") or {})["data"] == []
    assert probe.proxy.get("/api/key-auth", headers={"apikey": key["key"]}).status_code == 200
    probe.bridge.commit([insert(item)])  # and the connection is well


def test_an_error_at_commit_leaves_nothing(probe: Probe, postgres: Postgres) -> None:
    with postgres.connect() as connection:
        connection.execute(
            "CREATE TABLE late (id text REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED)"
        )
    name = new_id()
    with pytest.raises(BridgeError) as raised:
        probe.bridge.commit([insert(name), Sql("INSERT INTO late VALUES ('nobody')")])
    assert (raised.value.name, raised.value.step) == ("foreign key violation", None)
    assert count(postgres, name) == 0


@pytest.mark.parametrize(
    "step",
    [consumer("a\0b"), insert("a\0b"), insert("\\\0")],
    ids=["in an entity", "in a value", "after a backslash"],  # the entity's id is random
)
def test_a_nul_character_is_refused(probe: Probe, postgres: Postgres, step: Step) -> None:
    name = new_id()
    with pytest.raises(BridgeError, match="NUL") as raised:
        probe.bridge.commit([insert(name), step])
    assert raised.value.name == "BAD_REQUEST"
    assert count(postgres, name) == 0


def test_a_text_that_only_looks_like_an_escaped_nul_is_data(
    probe: Probe, postgres: Postgres
) -> None:
    name = "\\u0000" + new_id()
    probe.bridge.commit([insert(name)])
    assert count(postgres, name) == 1


def test_the_label_of_a_guard_comes_back(probe: Probe) -> None:
    guard = Sql("UPDATE item SET n = 1 WHERE id = $1", (new_id(),), rows=1, label="version")
    with pytest.raises(BridgeError) as raised:
        probe.bridge.commit([Sql("SELECT 1"), guard])
    assert (raised.value.name, raised.value.step, raised.value.label) == ("ROW_COUNT", 1, "version")
    assert raised.value.message == "0 rows instead of 1"


def test_a_field_error_names_the_field(probe: Probe) -> None:
    taken = probe.post("/consumers", username=new_id())["username"]
    with pytest.raises(BridgeError) as raised:
        probe.bridge.commit([consumer(taken)])
    assert raised.value.fields == {"username": taken}


def test_a_worker_that_dies_within_a_transaction_leaves_nothing(
    kong: KongProcess, probe: Probe, postgres: Postgres
) -> None:
    name = new_id()
    client = probe.of_each_worker()[0]
    steps = [{"op": "sql", "sql": "INSERT INTO item VALUES ($1)", "params": [name]}]
    steps += [{"op": "sql", "sql": "SELECT pg_sleep(20)"}]
    text = json.dumps({"bridge_version": BRIDGE_VERSION, "steps": steps})

    def commit() -> None:
        with pytest.raises(Exception, match=r"disconnect|reset|closed"):
            client.post("/probe", json={"fn": "commit", "text": text})

    thread = threading.Thread(target=commit)
    thread.start()
    sleepers = "pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid()"
    sleeping = f"SELECT count(*) FROM {sleepers}"
    with postgres.connect() as connection:
        eventually(
            lambda: connection.execute(sleeping).fetchone() == (1,), "the commit is under way"
        )
        for worker in kong.workers():
            worker.kill()
        thread.join(10)
        assert not thread.is_alive()
        connection.execute(f"SELECT pg_terminate_backend(pid) FROM {sleepers}")
    kong.wait()
    eventually(lambda: len(kong.workers()) == 2, "new workers")
    assert count(postgres, name) == 0
    probe.proxy.close()
    probe.proxy = type(probe.proxy)(base_url=kong.proxy_url, timeout=30)
    probe.of_each_worker()
