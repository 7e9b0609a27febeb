"""A commit that fails at its last step leaves nothing of the steps before it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from agreement import Tables, disagreements
from hosts import Gateway
from scim_traffic import (
    CORE_GROUP,
    ERROR,
    answered,
    get,
    new_group,
    new_user,
    patch,
    user_body,
)

FORBIDDEN = "forbidden"


@contextlib.contextmanager
def no_acl_group(gateway: Gateway, name: str) -> Iterator[None]:
    """Have the database itself refuse an ACL group, which no check before the commit can know."""
    host = gateway.host
    if host.dbless:
        pytest.skip("the memory of a DB-less Kong has no constraints of its own")
    if host.sqlite is not None:
        with contextlib.closing(sqlite3.connect(host.sqlite, isolation_level=None)) as connection:
            connection.execute(
                f"CREATE TRIGGER refuse BEFORE INSERT ON acls WHEN NEW.\"group\" = '{name}' "
                "BEGIN SELECT RAISE(ABORT, 'refused by a test'); END"
            )
            try:
                yield
            finally:
                connection.execute("DROP TRIGGER refuse")
        return
    with host.postgres.connect() as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'refused by a test' USING ERRCODE = 'disk_full'; END $$"
        )
        connection.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON acls FOR EACH ROW "
            f"WHEN (NEW.\"group\" = '{name}') EXECUTE FUNCTION refuse()"
        )
        try:
            yield
        finally:
            connection.execute("DROP TRIGGER refuse ON acls")
            connection.execute("DROP FUNCTION refuse")


def refused_late(answer: Any) -> None:
    """Hold that the answer is a SCIM error of the server, which says nothing about its inside."""
    assert answer.status_code in {500, 503}, answer.text
    body = answered(answer, answer.status_code)
    assert body["schemas"] == [ERROR]
    assert "refused by a test" not in answer.text


def test_a_group_whose_last_member_cannot_get_it_is_not_created(gateway: Gateway) -> None:
    users = [new_user(gateway.scim, name) for name in ("alice", "bob")]
    members = [{"value": user["id"]} for user in users]
    body = {"schemas": [CORE_GROUP], "displayName": FORBIDDEN, "members": members}
    before = Tables.of(gateway).rows

    with no_acl_group(gateway, FORBIDDEN):
        refused_late(gateway.scim.post("/Groups", json=body))

    assert Tables.of(gateway).rows == before
    assert [get(gateway.scim, f"/Users/{user['id']}") for user in users] == users
    assert disagreements(gateway) == []
    answered(gateway.scim.post("/Groups", json=body), 201)
    assert gateway.groups_of("alice") == gateway.groups_of("bob") == {FORBIDDEN}


def test_a_user_whose_role_is_refused_is_not_created(gateway: Gateway) -> None:
    body = user_body("alice", roles=[{"value": "fine"}, {"value": "zzz"}])

    with no_acl_group(gateway, "role:zzz"):
        refused_late(gateway.scim.post("/Users", json=body))

    assert gateway.consumers() == []
    assert all(rows == [] for rows in Tables.of(gateway).rows.values())
    answered(gateway.scim.post("/Users", json=body), 201)
    assert gateway.groups_of("alice") == {"role:fine", "role:zzz"}


def test_a_rename_that_is_refused_for_one_member_keeps_the_name_for_all(gateway: Gateway) -> None:
    users = [new_user(gateway.scim, name)["id"] for name in ("alice", "bob")]
    group = new_group(gateway.scim, *users, name="staff")
    rename = {"op": "replace", "value": {"displayName": FORBIDDEN}}

    with no_acl_group(gateway, FORBIDDEN):
        refused_late(patch(gateway.scim, f"/Groups/{group['id']}", rename))

    assert get(gateway.scim, f"/Groups/{group['id']}")["displayName"] == "staff"
    assert [gateway.groups_of(user) for user in users] == [{"staff"}, {"staff"}]
    assert disagreements(gateway) == []


def test_a_reactivation_that_is_refused_leaves_who_is_out_out(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice", active=False)["id"]
    new_group(gateway.scim, user, name=FORBIDDEN)
    key = gateway.give_key(user)

    with no_acl_group(gateway, FORBIDDEN):
        on = {"op": "replace", "value": {"active": True}}
        refused_late(patch(gateway.scim, f"/Users/{user}", on))

    assert get(gateway.scim, f"/Users/{user}")["active"] is False
    assert gateway.call(key, "/keyed").status_code == 403


@pytest.mark.parametrize("name", ["username", "custom_id"])
def test_a_user_whose_consumers_name_is_taken_leaves_nothing(gateway: Gateway, name: str) -> None:
    gateway.new_consumer(**{name: "taken"})
    before = gateway.consumers()
    body = user_body("taken") if name == "username" else user_body("alice", externalId="taken")

    assert gateway.scim.post("/Users", json=body).status_code == 409

    assert gateway.consumers() == before
    assert all(rows == [] for rows in Tables.of(gateway).rows.values())
