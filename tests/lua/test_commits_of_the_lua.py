"""The commit, the guard and the caches that ship, on a node without a Kong."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from effort import examples
from kong_scim.bridge import BridgeError, Delete, LastEventTag, Revoke, Sql, Upsert
from lua_node import LuaNode


def new_id() -> str:
    return str(uuid.uuid4())


def consumer(identifier: str, *tags: str, **fields: Any) -> Upsert:
    entity = {"id": identifier, "username": identifier, "tags": ["scim", "scim:a", *tags]}
    return Upsert("consumers", {**entity, **fields})


def status(node: LuaNode, owner: str, **facts: Any) -> int | None:
    exit_ = node.access(owner, **facts).get("exit")
    return exit_["status"] if exit_ else None


# -- The row-count guard ----------------------------------------------------


def test_a_statement_that_touches_another_number_of_rows_ends_the_commit(
    database_node: LuaNode,
) -> None:
    bridge, owner = database_node.bridge, new_id()
    guard = Sql("UPDATE scim_tenants SET graph_version = 1", rows=1, label="version")

    with pytest.raises(BridgeError) as refused:
        bridge.commit([consumer(owner), guard])

    assert (refused.value.name, refused.value.step) == ("ROW_COUNT", 1)
    assert (refused.value.label, refused.value.message) == ("version", "0 rows instead of 1")
    assert bridge.query(consumer_ids=[owner]).consumers == []


# -- Values in SQL ------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(TEXTS | st.sampled_from(["'", "$1", "$2", "'; --", "\\'"]), min_size=2, max_size=4))
def test_a_text_stays_a_value_whatever_is_in_it(database_node: LuaNode, values: list[str]) -> None:
    columns = ", ".join(f"${i + 1} AS c{i}" for i in range(len(values)))
    statement = Sql(f"SELECT {columns}", tuple(values))

    (found,) = database_node.bridge.query([statement]).sql
    (committed,) = database_node.bridge.commit([statement])

    assert found == [{f"c{i}": value for i, value in enumerate(values)}]
    assert committed.data == found


@pytest.mark.parametrize("value", [0, -1, 2**53 - 1, 0.1, -2.5e-300, None])
def test_a_number_stays_what_it_is(database_node: LuaNode, value: float | None) -> None:
    statement = Sql("SELECT $1 AS value, 5 -$2 AS less", (value, 1))
    (found,) = database_node.bridge.query([statement]).sql
    assert found == [{"value": value, "less": 4}]


def test_a_number_that_is_not_exact_in_json_is_refused(database_node: LuaNode) -> None:
    with pytest.raises(BridgeError, match="pass it as text"):
        database_node.bridge.query([Sql("SELECT $1", (2**53,))])


# -- Caches after a commit ----------------------------------------------------


def test_who_is_suspended_is_refused_by_the_next_request_whatever_was_cached(
    node: LuaNode,
) -> None:
    owner = new_id()
    node.bridge.commit([consumer(owner)])
    assert status(node, owner) is None

    node.bridge.commit([consumer(owner, "scim:suspended")])

    assert status(node, owner) == 403
    node.bridge.commit([consumer(owner)])
    assert status(node, owner) is None


def test_who_is_made_anew_is_let_in_though_it_was_cached_that_nobody_is_there(
    node: LuaNode,
) -> None:
    owner = new_id()
    assert status(node, owner) == 403  # "This account is no more"

    node.bridge.commit([consumer(owner)])

    assert status(node, owner) is None


def test_every_node_is_told_what_to_drop_in_the_same_transaction(database_node: LuaNode) -> None:
    owner = new_id()
    database_node.bridge.commit([consumer(owner, username="alice")])

    ((told,),) = database_node.store.entities.execute("SELECT data FROM cluster_events").fetchall()

    assert {f"consumers:{owner}", "consumers:alice"} <= set(json.loads(told))


def test_the_log_says_the_tenant_and_the_groups_and_the_last_event(node: LuaNode) -> None:
    owner = new_id()
    acl = {"id": new_id(), "consumer": {"id": owner}, "group": "staff"}

    node.bridge.commit(
        [consumer(owner, "scim-user:u1"), Upsert("acls", acl), LastEventTag("event-1")]
    )

    assert node.access(owner)["scim"] == {
        "tenant": "a",
        "user_id": "u1",
        "groups": ["staff"],
        "last_event": "event-1",
    }
    node.bridge.commit([LastEventTag("event-2", (owner,))])
    assert node.access(owner)["scim"]["last_event"] == "event-2"


def test_a_session_or_token_from_before_a_revocation_is_refused(node: LuaNode) -> None:
    owner = new_id()
    node.bridge.commit([consumer(owner, "scim-revoked-at:1000")])

    def session(began: int) -> dict[str, Any]:
        return {"began": began, "consumer": owner, "credential": "k"}

    refused = node.access(owner, session=session(1000))
    assert refused["exit"]["body"]["message"].startswith("This login began before")
    assert refused["ended"] is True
    assert status(node, owner, session=session(1001)) is None
    # {"iat": 1000} and {"iat": 1001}
    assert status(node, owner, token="h.eyJpYXQiOiAxMDAwfQ.s") == 403
    assert status(node, owner, token="h.eyJpYXQiOiAxMDAxfQ.s") is None


def test_a_login_by_name_is_refused_while_the_person_is_suspended(node: LuaNode) -> None:
    owner = new_id()
    node.bridge.commit([consumer(owner, "scim:suspended", username="O'Brien", custom_id="c-9")])

    for name in ("o'brien", "O'BRIEN", "C-9"):
        answer = node.access(credential={"id": "of a token", "username": name})
        assert answer["exit"]["status"] == 403
    assert "exit" not in node.access(credential={"id": "of a token", "username": "nobody"})
    unknown = node.access(credential={"username": "nobody"}, unknown_logins="refuse")
    assert unknown["exit"]["body"] == {"message": "This account is not known here"}

    node.bridge.commit([consumer(owner, username="other", custom_id=None)])
    assert "exit" not in node.access(credential={"id": "of a token", "username": "O'Brien"})


# -- What else a commit refuses -------------------------------------------------


def test_a_name_that_is_taken_is_refused(node: LuaNode) -> None:
    node.bridge.commit([consumer(new_id(), username="alice")])

    with pytest.raises(BridgeError) as refused:
        node.bridge.commit([consumer(new_id(), username="alice")])

    assert (refused.value.code, refused.value.fields) == (5, {"username": "alice"})


def test_a_consumer_that_is_deleted_takes_along_what_hangs_on_it(node: LuaNode) -> None:
    owner = new_id()
    key = {"id": new_id(), "consumer": {"id": owner}, "key": "k"}
    node.bridge.commit([consumer(owner), Upsert("keyauth_credentials", key)])

    (result,) = node.bridge.commit([Delete("consumers", owner)])

    assert result.entities == {"consumers": 1, "keyauth_credentials": 1}
    assert node.bridge.commit([Revoke(owner)])[0].entities == {}


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (Upsert("nobody", {"id": new_id()}), "BAD_REQUEST"),
        (Upsert("consumers", {"id": "1", "username": "x"}), "invalid primary key"),
        (
            Upsert("consumers", {"id": new_id(), "username": "x", "tags": ["a,b"]}),
            "schema violation",
        ),
        (Sql("SELEC 1"), "BAD_REQUEST"),
    ],
    ids=["no such entity", "no id", "no tag", "no SQL"],
)
def test_what_cannot_be_is_refused_by_name(node: LuaNode, step: Any, name: str) -> None:
    with pytest.raises(BridgeError) as refused:
        node.bridge.commit([step])
    assert refused.value.name == name
