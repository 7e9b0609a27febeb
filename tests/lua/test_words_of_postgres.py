"""The SQL of the bridge's own, as it ships, on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from lupa import luajit21

from kong_scim_sandbox.lua import coverage
from kong_scim_sandbox.lua.runtime import shipped
from postgres import running_postgres

TABLES = """
CREATE TABLE consumers (id uuid PRIMARY KEY, ws_id uuid, username text, custom_id text,
                        tags text[], updated_at timestamptz);
CREATE TABLE acls (id uuid PRIMARY KEY, ws_id uuid, consumer_id uuid, "group" text, tags text[]);
CREATE TABLE consumer_groups (id uuid PRIMARY KEY, ws_id uuid, name text, tags text[]);
CREATE TABLE consumer_group_consumers (consumer_group_id uuid, consumer_id uuid,
                                       PRIMARY KEY (consumer_group_id, consumer_id));
CREATE TABLE cluster_events (id uuid, node_id uuid, "at" timestamptz, expire_at timestamptz,
                             channel text, data text);
"""
"""What of Kong's tables these statements touch."""

WORKSPACE = "00000000-0000-0000-0000-000000000001"
ALICE = "00000000-0000-0000-0000-00000000000a"
BOB = "00000000-0000-0000-0000-00000000000b"
GOLD = "00000000-0000-0000-0000-0000000000d0"

LUA = luajit21.LuaRuntime(encoding="latin-1")
coverage.watch(LUA)


def literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_postgres() as postgres:
        yield postgres.dsn


@pytest.fixture
def connection(server: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server) as connected:
        connected.execute(TABLES)
        for identifier, name, tags in (
            (ALICE, "Alice", ["scim", "scim-event:1"]),
            (BOB, "bob", None),
        ):
            connected.execute(
                "INSERT INTO consumers VALUES (%s, %s, %s, %s, %s, now() - interval '1 day')",
                (identifier, WORKSPACE, name, f"C-{name}", tags),
            )
        yield connected
        connected.rollback()


@pytest.fixture
def words() -> Any:
    name = "kong.plugins.scim-bridge.postgres"
    return LUA.eval("loadstring")(shipped(name), f"@{name}")()


def targets(*daos: str) -> Any:
    """Return some of the targets, as Lua has them."""
    name = "kong.plugins.scim-bridge.targets"
    found = LUA.eval("loadstring")(shipped(name), f"@{name}")()
    return LUA.table_from({dao: found[dao] for dao in daos})


def rows(connection: psycopg.Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    return connection.execute(statement.encode()).fetchall()


def run(connection: psycopg.Connection[Any], statement: str) -> None:
    connection.execute(statement.encode())


def test_a_tag_with_a_prefix_replaces_the_one_before(
    connection: psycopg.Connection[Any], words: Any
) -> None:
    both = literal(json.dumps([ALICE, BOB]))
    run(connection, words.replace_tag(literal("scim-event:"), literal("scim-event:2"), both))
    tags = "SELECT tags FROM consumers ORDER BY id"
    assert rows(connection, tags) == [(["scim", "scim-event:2"],), (["scim-event:2"],)]

    run(connection, words.replace_tag(literal("scim-event:"), "NULL", both))
    assert rows(connection, tags) == [(["scim"],), ([],)]


def test_consumers_come_with_their_groups(connection: psycopg.Connection[Any], words: Any) -> None:
    connection.execute(
        "INSERT INTO acls VALUES (gen_random_uuid(), %s, %s, 'staff', '{mine}'),"
        " (gen_random_uuid(), %s, %s, 'dev', NULL)",
        (WORKSPACE, ALICE, WORKSPACE, ALICE),
    )
    condition = f"username IN ({literal('Alice')})"

    connection.execute(
        "INSERT INTO consumer_groups VALUES (%s, %s, 'gold', NULL)", (GOLD, WORKSPACE)
    )
    connection.execute("INSERT INTO consumer_group_consumers VALUES (%s, %s)", (GOLD, ALICE))

    both = targets("acls", "consumer_group_consumers")
    ((text,),) = rows(connection, words.consumers(both, literal(WORKSPACE), condition))
    found = json.loads(text)

    assert (found["id"], found["custom_id"], found["tags"]) == (
        ALICE,
        "C-Alice",
        ["scim", "scim-event:1"],
    )
    assert [(each["group"], each["tags"]) for each in found["memberships"]["acls"]] == [
        ("dev", []),
        ("staff", ["mine"]),
    ]
    assert found["memberships"]["consumer_group_consumers"] == [
        {"id": f"{ALICE}:gold", "group": "gold"}
    ]
    ((text,),) = rows(connection, words.consumers(targets(), literal(WORKSPACE), condition))
    assert json.loads(text)["memberships"] == {}


def test_a_consumer_is_found_by_each_name_in_whatever_case(
    connection: psycopg.Connection[Any], words: Any
) -> None:
    for name, found in (("ALICE", [ALICE]), ("c-BOB", [BOB]), ("nobody", [])):
        statement = words.named(literal(WORKSPACE), literal(name))
        assert [str(row[0]) for row in rows(connection, statement)] == found


@pytest.mark.parametrize("dao", ["acls", "consumer_group_consumers"])
def test_who_gives_a_group_is_told_by_the_tag(
    connection: psycopg.Connection[Any], words: Any, dao: str
) -> None:
    connection.execute(
        "INSERT INTO acls VALUES (gen_random_uuid(), %s, %s, 'staff', '{ours}')",
        (WORKSPACE, ALICE),
    )
    connection.execute(
        "INSERT INTO consumer_groups VALUES (gen_random_uuid(), %s, 'staff', '{ours}')",
        (WORKSPACE,),
    )
    given = words.given(targets(dao)[dao], dao, literal("staff"), literal(WORKSPACE))
    ours, theirs = (words.given_with(given, literal(tag)) for tag in ("ours", "theirs"))
    assert [len(rows(connection, each)) for each in (given, ours, theirs)] == [1, 1, 0]
    modes = []
    for condition in (ours, theirs):
        rows(connection, words.lock(condition, literal(f"key of {len(modes)}")))
        held = "SELECT mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        modes.append(len(rows(connection, held)))
    assert modes == [1, 2]


def test_every_node_is_told_what_to_drop(connection: psycopg.Connection[Any], words: Any) -> None:
    keys = literal(json.dumps(["a'b", "c"]))
    run(connection, words.invalidations(ALICE, 60, literal("invalidations"), keys))

    late = "extract(epoch from expire_at - clock_timestamp()) BETWEEN 55 AND 61"
    assert rows(connection, f"SELECT channel, data, {late} FROM cluster_events ORDER BY data") == [
        ("invalidations", "a'b", True),
        ("invalidations", "c", True),
    ]
    assert rows(connection, "SELECT count(DISTINCT id) FROM cluster_events") == [(2,)]


def test_a_statement_of_a_transaction_ends_in_time(server: str, words: Any) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(words.begin(20).encode())
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")
        connection.execute("ROLLBACK")
