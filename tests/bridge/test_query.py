"""``query`` answers rows and consumers; values are data, whatever they look like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from probe import Probe
from steps import new_id

from kong_process import requires_kong
from kong_scim.bridge import BridgeError, BridgeUnavailableError, Sql
from postgres import Postgres

pytestmark = requires_kong


# -- Values ----------------------------------------------------------------

TEXTS = [
    "",
    "plain",
    "it's",
    "''; DROP TABLE consumers; --",
    "$1 $2 $$ $x$",
    "%1 %d %%",
    "\\",
    "\\'",
    "E'\\x27'",
    "a\nb\r\tc",
    "\x01\x1f\x7f",
    "Grüße 日本 🦍 \u2028",
    "{vault://env/home}",
    "]] .. os.exit() .. [[",
    "x" * 5_000_000,
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:30]))
def test_a_text_comes_back_as_it_was(probe: Probe, text: str) -> None:
    statement = Sql("SELECT $1::text AS a, $2::text AS b, $1 = $2 AS same", (text, text))
    assert probe.bridge.query([statement]).sql == [[{"a": text, "b": text, "same": True}]]


@pytest.mark.parametrize(
    "value", [0, -5, 1.5, -0.1, 1e-9, 1764000000123456, 2**53 - 1, -(2**53) + 1, True, False, None]
)
def test_a_scalar_keeps_its_value_and_type(probe: Probe, value: Any) -> None:
    cast = {bool: "boolean", int: "bigint", float: "double precision"}.get(type(value), "text")
    ((row,),) = probe.bridge.query([Sql(f"SELECT $1::{cast} AS v", (value,))]).sql
    assert row["v"] == value
    assert type(row["v"]) is type(value)


def test_a_negative_number_after_a_minus_is_no_comment(probe: Probe) -> None:
    assert probe.bridge.query([Sql("SELECT 1 -$1 AS v", (-5,))]).sql == [[{"v": 6}]]


def test_ten_and_more_values_are_not_confused(probe: Probe) -> None:
    statement = Sql("SELECT $1 || $11 || $2 AS v", tuple("abcdefghijk"))
    assert probe.bridge.query([statement]).sql == [[{"v": "akb"}]]


@pytest.mark.parametrize("value", [2**53, float("nan"), float("inf"), [1], {"a": 1}])
def test_what_postgresql_or_json_cannot_hold_is_refused(probe: Probe, value: Any) -> None:
    with pytest.raises(BridgeError, match=r"\$1") as raised:
        probe.bridge.query([Sql("SELECT $1", (value,))])
    assert (raised.value.name, raised.value.step) == ("BAD_REQUEST", 0)


def test_no_rows_are_a_list(probe: Probe) -> None:
    statements = [Sql("SELECT 1 AS v WHERE false"), Sql("SELECT 1 AS v")]
    assert probe.bridge.query(statements).sql == [[], [{"v": 1}]]
    assert probe.call("query")["ok"] == {"sql": [], "consumers": []}


def test_an_error_names_the_statement(probe: Probe) -> None:
    with pytest.raises(BridgeError, match="nowhere") as raised:
        probe.bridge.query([Sql("SELECT 1"), Sql("SELECT * FROM nowhere")])
    assert (raised.value.name, raised.value.step) == ("BAD_REQUEST", 1)
    assert probe.bridge.query([Sql("SELECT 1 AS v")]).sql == [[{"v": 1}]]


# -- Consumers -------------------------------------------------------------


def test_consumers_come_with_their_groups_and_each_once(probe: Probe) -> None:
    one = probe.post("/consumers", username=new_id(), custom_id=new_id(), tags=["scim", "x"])
    two = probe.post("/consumers", custom_id=new_id())
    for group in ("staff", "dev"):
        probe.post(f"/consumers/{one['id']}/acls", group=group, tags=["scim"])
    rows = probe.bridge.query(
        consumer_ids=[one["id"], one["id"], new_id(), "no-id"],
        usernames=[one["username"], "nobody", "'; --"],
        custom_ids=[one["custom_id"], two["custom_id"]],
    )
    found = {consumer.id: consumer for consumer in rows.consumers}
    assert len(rows.consumers) == len(found) == 2
    first, second = found[one["id"]], found[two["id"]]
    assert (first.username, first.custom_id) == (one["username"], one["custom_id"])
    assert first.tags == ("scim", "x")
    assert [(acl.group, acl.tags) for acl in first.acls] == [
        ("dev", ("scim",)),
        ("staff", ("scim",)),
    ]
    assert (second.username, second.tags, second.acls) == (None, (), ())


def test_names_are_matched_as_they_are(probe: Probe) -> None:
    name = "Ann-" + new_id()
    probe.post("/consumers", username=name)
    assert probe.bridge.query(usernames=[name.lower(), name.upper(), name + " "]).consumers == []


def test_thousands_of_consumers_are_one_step(probe: Probe, postgres: Postgres) -> None:
    with postgres.connect() as connection:
        made = connection.execute(
            "INSERT INTO consumers (id, username, ws_id) SELECT gen_random_uuid(), 'many-' || n, "
            "(SELECT id FROM workspaces) FROM generate_series(1, 5000) n RETURNING id::text"
        ).fetchall()
    rows = probe.bridge.query(consumer_ids=[str(row[0]) for row in made])
    assert len(rows.consumers) == 5000


# -- The wire --------------------------------------------------------------

GARBAGE: list[Any] = [
    None,
    1,
    True,
    [],
    {},
    "",
    "null",
    "1",
    "[]",
    "{}",
    "{",
    "\0",
    '{"a":' * 2000,
    '"\\ud800"',
    '{"bridge_version":7,"sql":1,"steps":1}',
    '{"bridge_version":7,"sql":{"a":1},"consumers":1,"steps":{"a":1},"max_body_size":"1"}',
    '{"bridge_version":7,"sql":[1],"steps":[1],"max_body_size":-1}',
    '{"bridge_version":7,"sql":[null],"steps":[null],"max_body_size":null}',
    '{"bridge_version":7,"sql":[{"sql":1}],"steps":[{"op":1}],"secrets":1}',
    '{"bridge_version":7,"sql":[{"sql":"SELECT $1","params":1}],"steps":[{"op":"error"}]}',
    '{"bridge_version":7,"steps":[{"op":"upsert","dao":{},"entity":[]}],"max_body_size":{}}',
    '{"bridge_version":7,"steps":[{"op":"upsert","dao":"acls","entity":{"id":"x"},'
    '"unless_present":true}],"consumers":{"id":1,"username":[1],"custom_id":[{}]}}',
    '{"bridge_version":7,"steps":[{"op":"delete","dao":"consumers","id":1}]}',
    '{"bridge_version":7,"steps":[{"op":"stamp"}],"samples":1}',
    '{"bridge_version":7,"steps":[{"op":"stamp","event":"x","consumers":1}],"samples":[1]}',
    '{"bridge_version":7,"steps":[{"op":"stamp","event":"x","consumers":["x",{}]}],'
    '"samples":[{"metric":"events","labels":["x"],"value":1}]}',
    '{"bridge_version":7,"credentials_of":["x"],"tagged":{"tag":"x"}}',
    '{"bridge_version":7,"tagged":{"tag":"x","after":"","size":0.5}}',
    '{"bridge_version":7,"credentials_of":"x","tagged":"x"}',
    '{"bridge_version":7,"samples":[{"metric":"latency","labels":["x","y"],"value":1}]}',
    '{"bridge_version":7,"steps":[{"op":"revoke"}],"secrets":[1]}',
    '{"bridge_version":7,"steps":[{"op":"revoke","consumer":"x"}],"sql":[{"sql":""}]}',
]


@pytest.mark.parametrize(
    "function", ["begin", "query", "drift", "commit", "request_tick", "report"]
)
@pytest.mark.parametrize("text", GARBAGE, ids=lambda text: repr(text)[:40])
def test_garbage_is_an_error_in_the_envelope(probe: Probe, function: str, text: Any) -> None:
    """Never a Lua error: that would be Kong's own 500, and a Python thread lost for ever."""
    envelope = json.loads(probe.text(function, text))
    assert list(envelope) in (["error"], ["ok"])
    if "error" in envelope:
        assert isinstance(envelope["error"]["name"], str)
        assert isinstance(envelope["error"]["message"], str)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_of_the_wire_is_refused_by_name(
    probe: Probe, version: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kong_scim.bridge.client.BRIDGE_VERSION", version)
    with pytest.raises(BridgeUnavailableError, match="install both from one release"):
        probe.bridge.query([])


# -- Time --------------------------------------------------------------------------


def stopped(probe: Probe, function: str, **argument: Any) -> dict[str, Any]:
    answer = probe.call(function, timeout=200, **argument)
    assert answer["error"]["name"] == "TIMEOUT", answer
    found: dict[str, Any] = answer["error"]
    return found


def test_a_statement_that_takes_too_long_is_stopped_by_the_database(
    probe: Probe, postgres: Postgres
) -> None:
    """Not given up only: else it goes on, for a client who may be gone."""
    sleep = {"sql": "SELECT pg_sleep(30), $1::text AS mark", "params": ["told apart by this"]}
    assert stopped(probe, "query", sql=[{"sql": "SELECT 1 AS a"}, sleep])["step"] == 1
    assert stopped(probe, "commit", steps=[{"op": "sql", **sleep}])["step"] == 0
    with postgres.connect() as connection:
        active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s"
        assert connection.execute(active, ["%pg_sleep(30)%told apart%"]).fetchone() == (0,)


def test_no_connection_of_kong_keeps_the_time_out(probe: Probe) -> None:
    for _ in range(5):
        stopped(probe, "query", sql=[{"sql": "SELECT pg_sleep(30)"}])
        probe.bridge.query([Sql("SELECT 1 AS a")])
    # What comes after the COMMIT runs as any statement of Kong's does.
    left = probe.call("query", sql=[{"sql": "COMMIT"}, {"sql": "SHOW statement_timeout"}])
    assert left["ok"]["sql"][1] == [{"statement_timeout": "0"}]
