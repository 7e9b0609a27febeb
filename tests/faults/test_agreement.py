"""The comparison that the other tests rely on sees each kind of difference."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator

import psycopg
import pytest

from agreement import disagreements
from hosts import Gateway
from scim_traffic import new_group, new_user


@pytest.fixture
def staffed(gateway: Gateway) -> Iterator[Gateway]:
    """A gateway where all is well: an active user in a group, and an inactive one."""
    user = new_user(gateway.scim, "alice", externalId="00u1", roles=[{"value": "admin"}])
    new_group(gateway.scim, user["id"], name="staff")
    new_user(gateway.scim, "bob", active=False)
    assert disagreements(gateway) == []
    yield gateway
    run(gateway, "DELETE FROM scim_resources WHERE type <> 'Event'")  # the trail is everybody's


def run(gateway: Gateway, statement: str) -> None:
    """Change a table behind the gateway's back."""
    if gateway.host.sqlite is not None:
        with contextlib.closing(sqlite3.connect(gateway.host.sqlite)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(statement)
            connection.commit()
        return
    with psycopg.connect(gateway.host.postgres.dsn) as connection:
        connection.execute(statement)


def by_hand(damage: Callable[[Gateway], object]) -> Callable[[Gateway], None]:
    """What an administrator does to an entity of Kong's."""

    def do(gateway: Gateway) -> None:
        if gateway.host.dbless:
            pytest.skip("on a DB-less Kong nobody else can change an entity")
        damage(gateway)

    return do


def sql(statement: str) -> Callable[[Gateway], None]:
    return lambda gateway: run(gateway, statement)


def remove_an_acl(gateway: Gateway) -> None:
    (acl, *_) = gateway.admin.get("/consumers/alice/acls").json()["data"]
    gateway.admin.delete(f"/consumers/alice/acls/{acl['id']}").raise_for_status()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (by_hand(lambda g: g.admin.delete("/consumers/alice")), "has 0 consumers"),
        (by_hand(remove_an_acl), "ACL groups"),
        (lambda g: g.give_key("bob"), "is inactive and has 1 keys"),
        (lambda g: g.new_consumer(username="x", tags=["scim"]), "has no user"),
        (
            by_hand(sql("UPDATE consumers SET username = 'eve' WHERE custom_id = '00u1'")),
            "username",
        ),
        (
            by_hand(sql("UPDATE consumers SET custom_id = 'x' WHERE custom_id = '00u1'")),
            "custom_id",
        ),
        (sql("DELETE FROM scim_members"), "ACL groups"),
        (sql("DELETE FROM scim_unique"), "scim_unique"),
        (sql("DELETE FROM scim_values WHERE attr = 'externalid'"), "externalId eq"),
        (sql("DELETE FROM scim_values WHERE attr = 'roles.value'"), "scim_values"),
        (sql("UPDATE scim_resources SET display = 'x'"), "display"),
    ],
)
def test_it_sees(staffed: Gateway, damage: Callable[[Gateway], object], sentence: str) -> None:
    damage(staffed)

    assert any(sentence in each for each in disagreements(staffed))
