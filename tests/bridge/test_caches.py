"""After a commit the very next request, at whichever worker, meets the new state."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from probe import HERE, Probe, eventually
from steps import new_id

from kong_process import KongProcess, kong_binary, requires_kong
from kong_scim.bridge import BRIDGE_VERSION, Delete, Revoke, Sql, Step, Upsert
from postgres import Postgres

pytestmark = requires_kong

ROUNDS = 20  # a worker that lags behind shows in some of them


@pytest.fixture(scope="module")
def workers(probe: Probe) -> list[httpx.Client]:
    return probe.of_each_worker()


def keyed(probe: Probe, *groups: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A new consumer with a key, and the header to call with."""
    consumer = probe.post("/consumers", username=new_id())
    key = probe.post(f"/consumers/{consumer['id']}/key-auth", key=new_id())
    for group in groups:
        probe.post(f"/consumers/{consumer['id']}/acls", group=group)
    return consumer, {"apikey": key["key"]}


def statuses(workers: list[httpx.Client], path: str, headers: dict[str, str]) -> list[int]:
    return [client.get(path, headers=headers).status_code for client in workers]


REVOCATIONS: dict[str, Callable[[str], Step]] = {
    "its credentials revoked": Revoke,
    "its consumer deleted": lambda consumer: Delete("consumers", consumer),
}


@pytest.mark.parametrize("revocation", REVOCATIONS)
def test_a_key_is_refused_on_the_next_request_at_each_worker(
    probe: Probe, workers: list[httpx.Client], revocation: str
) -> None:
    for _ in range(ROUNDS):
        consumer, headers = keyed(probe)
        assert statuses(workers, "/api/key-auth", headers) == [200, 200]
        probe.bridge.commit([REVOCATIONS[revocation](consumer["id"])])
        assert statuses(workers, "/api/key-auth", headers) == [401, 401]


@pytest.mark.parametrize("revocation", REVOCATIONS)
def test_a_key_used_during_the_transaction_is_refused_right_after_it(
    probe: Probe, workers: list[httpx.Client], revocation: str
) -> None:
    consumer, headers = keyed(probe)  # in no cache yet
    steps = [REVOCATIONS[revocation](consumer["id"]), Sql("SELECT pg_sleep(0.5)")]
    commit = threading.Thread(target=probe.bridge.commit, args=(steps,))
    commit.start()
    during = []
    while commit.is_alive():
        during += statuses(workers, "/api/key-auth", headers)
    commit.join()
    assert 200 in during
    assert statuses(workers, "/api/key-auth", headers) == [401, 401]


@pytest.mark.parametrize("deletion", [False, True])
def test_who_is_suspended_or_deleted_is_refused_by_a_worker_that_has_not_dropped_its_caches(
    probe: Probe, workers: list[httpx.Client], deletion: bool
) -> None:
    consumer, headers = keyed(probe)
    assert statuses(workers, "/api/key-auth", headers) == [200, 200]
    for client in workers:
        client.post("/probe", json={"fn": "deaf", "text": True})
    try:
        tags = ["scim", "scim:a", "scim:suspended"]
        suspension = Upsert("consumers", {"id": consumer["id"], "tags": tags})
        probe.bridge.commit([Delete("consumers", consumer["id"]) if deletion else suspension])
        assert statuses(workers, "/api/key-auth", headers) == [403, 403]
    finally:
        for client in workers:
            client.post("/probe", json={"fn": "deaf", "text": False})


def test_who_is_let_in_again_at_once_is_let_in_by_each_worker(
    probe: Probe, workers: list[httpx.Client]
) -> None:
    for _ in range(ROUNDS):
        consumer, headers = keyed(probe)
        for tags, status in (["scim", "scim:suspended"], 403), (["scim"], 200):
            probe.bridge.commit([Upsert("consumers", {"id": consumer["id"], "tags": tags})])
            assert statuses(workers, "/api/key-auth", headers) == [status, status]


def test_a_failed_commit_revokes_nothing(probe: Probe, workers: list[httpx.Client]) -> None:
    consumer, headers = keyed(probe)
    answer = probe.call(
        "commit",
        steps=[{"op": "revoke", "consumer": consumer["id"]}, {"op": "sql", "sql": "SELEC"}],
    )
    assert answer["error"]["step"] == 1
    assert statuses(workers, "/api/key-auth", headers) == [200, 200]


def test_a_new_group_lets_in_on_the_next_request(probe: Probe, workers: list[httpx.Client]) -> None:
    for _ in range(ROUNDS):
        consumer, headers = keyed(probe)
        assert statuses(workers, "/api/acl", headers) == [403, 403]
        group = new_id()
        entity = {"id": group, "consumer": {"id": consumer["id"]}, "group": "staff"}
        probe.bridge.commit([Upsert("acls", entity, unless_present=True)])
        assert statuses(workers, "/api/acl", headers) == [200, 200]
        probe.bridge.commit([Delete("acls", group)])
        assert statuses(workers, "/api/acl", headers) == [403, 403]


def test_the_groups_of_a_deleted_consumer_are_gone_for_its_successor(
    probe: Probe, workers: list[httpx.Client]
) -> None:
    consumer, headers = keyed(probe, "staff")
    assert statuses(workers, "/api/acl", headers) == [200, 200]
    probe.bridge.commit([Delete("consumers", consumer["id"])])
    probe.bridge.commit([Upsert("consumers", {"id": consumer["id"], "username": new_id()})])
    probe.post(f"/consumers/{consumer['id']}/key-auth", key=headers["apikey"])
    eventually(
        lambda: statuses(workers, "/api/key-auth", headers) == [200, 200], "the Admin API's key"
    )
    assert statuses(workers, "/api/acl", headers) == [403, 403]


def test_a_key_that_was_unknown_is_known_on_the_next_request(
    probe: Probe, workers: list[httpx.Client]
) -> None:
    consumer = probe.post("/consumers", username=new_id())
    headers = {"apikey": new_id()}
    assert statuses(workers, "/api/key-auth", headers) == [401, 401]
    entity = {"id": new_id(), "consumer": {"id": consumer["id"]}, "key": headers["apikey"]}
    probe.bridge.commit([Upsert("keyauth_credentials", entity)])
    assert statuses(workers, "/api/key-auth", headers) == [200, 200]


def test_a_suspension_and_its_end_are_seen_on_the_next_request(
    probe: Probe, workers: list[httpx.Client]
) -> None:
    consumer, headers = keyed(probe)
    for _ in range(ROUNDS):
        assert statuses(workers, "/api/key-auth", headers) == [200, 200]
        tags = {"id": consumer["id"], "tags": ["scim", "scim:suspended"]}
        probe.bridge.commit([Upsert("consumers", tags)])
        assert statuses(workers, "/api/key-auth", headers) == [403, 403]
        probe.bridge.commit([Upsert("consumers", tags | {"tags": ["scim"]})])


def test_a_rename_is_seen_on_the_next_request(
    probe: Probe, workers: list[httpx.Client], access_log: Path
) -> None:
    consumer, headers = keyed(probe)
    assert statuses(workers, "/api/key-auth", headers) == [200, 200]
    name = new_id()
    probe.bridge.commit([Upsert("consumers", {"id": consumer["id"], "username": name})])
    assert statuses(workers, "/api/key-auth", headers) == [200, 200]
    eventually(
        lambda: access_log.read_text(errors="replace").count(name) >= 2, "both requests are logged"
    )


# -- Every kind of credential ----------------------------------------------

KINDS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "basicauth_credentials": ("basic-auth", lambda: {"username": new_id(), "password": "p"}),
    "hmacauth_credentials": ("hmac-auth", lambda: {"username": new_id()}),
    "jwt_secrets": ("jwt", dict),
    "keyauth_credentials": ("key-auth", lambda: {"key": new_id()}),
    "oauth2_credentials": (
        "oauth2",
        lambda: {"name": "app", "redirect_uris": ["http://x.example"]},
    ),
}


def test_every_kind_of_credential_is_revoked_and_nothing_else(probe: Probe) -> None:
    consumer, _ = keyed(probe, "staff")
    path = f"/consumers/{consumer['id']}"
    probe.post(f"{path}/plugins", name="correlation-id")
    for kind, make in KINDS.values():
        probe.post(f"{path}/{kind}", **make())
    (result,) = probe.bridge.commit([Revoke(consumer["id"])])
    assert result.entities == dict.fromkeys(KINDS, 1) | {"keyauth_credentials": 2}
    for kind, _ in KINDS.values():
        assert (probe.get(f"{path}/{kind}") or {})["data"] == []
    assert len((probe.get(f"{path}/acls") or {})["data"]) == 1
    assert len((probe.get(f"{path}/plugins") or {})["data"]) == 1


def test_a_revoked_password_is_refused_on_the_next_request(
    probe: Probe, workers: list[httpx.Client]
) -> None:
    consumer = probe.post("/consumers", username=new_id())
    probe.post(f"/consumers/{consumer['id']}/basic-auth", username=consumer["id"], password="p")
    headers = {"Authorization": "Basic " + b64encode(f"{consumer['id']}:p".encode()).decode()}
    assert statuses(workers, "/api/basic-auth", headers) == [200, 200]
    probe.bridge.commit([Revoke(consumer["id"])])
    assert statuses(workers, "/api/basic-auth", headers) == [401, 401]


# -- Beyond the worker that commits ----------------------------------------


def test_another_node_refuses_a_revoked_key_soon(
    kong: KongProcess, probe: Probe, postgres: Postgres, tmp_path: Path
) -> None:
    other = KongProcess(
        kong_binary(),
        tmp_path / "k",
        postgres=postgres,
        plugins=("scim-bridge", "scim-probe"),
        lua_path=[HERE],
        workers=1,
    )
    with other:
        consumer, headers = keyed(probe)
        assert httpx.get(other.proxy_url + "/api/key-auth", headers=headers).status_code == 200
        probe.bridge.commit([Revoke(consumer["id"])])
        eventually(
            lambda: (
                httpx.get(other.proxy_url + "/api/key-auth", headers=headers).status_code == 401
            ),
            "the other node polled",
        )


def test_a_revocation_holds_where_the_worker_dies_before_it_can_tell(
    kong: KongProcess, probe: Probe, postgres: Postgres
) -> None:
    """The worker is killed while PostgreSQL still works on its COMMIT, which then succeeds."""
    with postgres.connect() as connection:
        connection.execute("CREATE TABLE slow (id text)")
        connection.execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON slow DEFERRABLE INITIALLY "
            "DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle()"
        )
        consumer, headers = keyed(probe)
        committer, witness = probe.of_each_worker()
        assert witness.get("/api/key-auth", headers=headers).status_code == 200
        steps = [
            {"op": "revoke", "consumer": consumer["id"]},
            {"op": "sql", "sql": "INSERT INTO slow VALUES ('x')"},
        ]
        text = json.dumps({"bridge_version": BRIDGE_VERSION, "steps": steps})

        def commit() -> None:
            with pytest.raises(httpx.TransportError):
                committer.post("/probe", json={"fn": "commit", "text": text})

        probed = {"fn": "query", "text": "{}"}
        pid = int(committer.post("/probe", json=probed).headers["x-worker"])
        thread = threading.Thread(target=commit)
        thread.start()
        committing = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE query LIKE '%COMMIT' AND state = 'active' AND pid <> pg_backend_pid()"
        )
        eventually(lambda: connection.execute(committing).fetchone() == (1,), "COMMIT is under way")
        (worker,) = (process for process in kong.workers() if process.pid == pid)
        worker.kill()
        thread.join(10)
        eventually(lambda: connection.execute(committing).fetchone() == (0,), "COMMIT is done")
    assert probe.get(f"/consumers/{consumer['id']}/key-auth") == {"data": [], "next": None}
    eventually(
        lambda: witness.get("/api/key-auth", headers=headers).status_code == 401,
        "the other worker forgets the key",
    )
    probe.of_each_worker()  # the next test finds two again
