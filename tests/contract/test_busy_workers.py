"""Whoever makes the plugin server wait, however many they are: it goes on serving the others."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

import outbox
from hosts import Gateway, eventually, running_gateway
from kong_process import requires_kong
from scim_traffic import answered, new_user, refused, user_body

pytestmark = pytest.mark.long

WORKERS = 16
"""Of a plugin server, where nobody says otherwise."""

CROWD = 2 * WORKERS

PLACES = WORKERS // 4
"""Workers that may wait for one thing."""


def begun(gateway: Gateway, *fields: str) -> socket.socket:
    """Send the head of a creation and the first octet of its body, and return the connection."""
    url = urlsplit(gateway.scim_base)
    assert url.hostname is not None
    connection = socket.create_connection((url.hostname, url.port), timeout=30)
    head = [f"POST {url.path}/Users HTTP/1.1", f"Host: {url.netloc}", *fields, "", "{"]
    connection.sendall("\r\n".join(head).encode())
    return connection


@pytest.mark.parametrize("client", ["waits", "goes away"])
def test_a_client_that_does_not_send_its_body_holds_no_worker(
    gateway: Gateway, client: str
) -> None:
    """Nobody was asked for a token yet: it may be anybody."""
    with contextlib.ExitStack() as stack:
        for _ in range(CROWD):
            connection = stack.enter_context(begun(gateway, "Content-Length: 1000"))
            if client == "goes away":
                connection.close()
        for _ in range(5):  # sooner than the plugin server would give up who holds a worker
            answered(gateway.scim.post("/Users", json=user_body(), timeout=30), 201)


def test_a_body_that_comes_slowly_arrives_whole(gateway: Gateway) -> None:
    content = json.dumps(user_body("alice")).encode()
    fields = [
        f"Authorization: Bearer {gateway.token}",
        "Content-Type: application/scim+json",
        f"Content-Length: {len(content)}",
        "Connection: close",
    ]
    with begun(gateway, *fields) as connection:
        new_user(gateway.scim, "bob")  # in the meantime
        connection.sendall(content[1:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 201 " in answer.partition(b"\r\n")[0]
    assert gateway.consumer("alice") is not None


def held(
    gateway: Gateway, crowd: list[Future[httpx.Response]]
) -> tuple[list[httpx.Response], list[Future[httpx.Response]]]:
    """Return the answers of those for whom there is no place, and who waits for theirs.

    What has nothing to do with them is answered before that.
    """
    eventually(
        lambda: sum(each.done() for each in crowd) >= CROWD - PLACES, "those who do not wait"
    )
    answered(gateway.scim.get("/Users"), 200)
    return (
        [each.result() for each in crowd if each.done()],
        [each for each in crowd if not each.done()],
    )


def test_receivers_that_poll_leave_workers_to_provisioning(
    gateway_with: Callable[..., Gateway],
) -> None:
    key = ECKey.generate_key("P-256").as_pem(private=True).decode()
    gateway = gateway_with(events={"poll": True, "signing_key": key})

    def poll(**body: Any) -> httpx.Response:
        return gateway.scim.post("/Events/poll", json=body).raise_for_status()

    eventually(lambda: outbox.waiting(gateway) == 0, "the events to be sealed")
    while found := poll(returnImmediately=True).json()["sets"]:
        poll(ack=list(found), returnImmediately=True)

    with ThreadPoolExecutor(CROWD) as threads:
        answers, waiting = held(gateway, [threads.submit(poll) for _ in range(CROWD)])
        assert all(each.json()["sets"] == {} for each in answers)
        assert waiting, "none was held open"
        new_user(gateway.scim)


@contextlib.contextmanager
def silent_issuer() -> Iterator[str]:
    """Take connections and say nothing, until the end; yields a URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=CROWD) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/keys"


def test_an_issuer_that_hangs_leaves_workers_to_whoever_has_a_token(
    gateway_with: Callable[..., Gateway],
) -> None:
    with silent_issuer() as url:
        issuer = {"issuer": "https://idp.example", "audience": ["scim"], "jwks_url": url}
        gateway = gateway_with(jwt={**issuer, "allow_http": True})
        key = ECKey.generate_key("P-256")
        token = jwt.encode({"alg": "ES256", "kid": "k"}, {"iss": "https://idp.example"}, key)

        def ask() -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"}
            return httpx.get(
                f"{gateway.scim_base}/Users", verify=False, headers=headers, timeout=60
            )

        with ThreadPoolExecutor(CROWD) as threads:
            answers, waiting = held(gateway, [threads.submit(ask) for _ in range(CROWD)])
            assert waiting, "nobody asked the issuer"
        for answer in [*answers, *(each.result() for each in waiting)]:
            assert "keys of the token's issuer" in refused(answer, 503)
            assert int(answer.headers["Retry-After"]) >= 1


# -- Few workers ---------------------------------------------------------------


@contextlib.contextmanager
def stalled_database(gateway: Gateway) -> Iterator[None]:
    """Let no write go on meanwhile."""
    if gateway.host.sqlite is not None:
        with contextlib.closing(sqlite3.connect(gateway.host.sqlite)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
            yield
        return
    with psycopg.connect(gateway.host.postgres.dsn) as server:
        server.execute("LOCK TABLE scim_resources IN ACCESS EXCLUSIVE MODE")
        yield
        server.rollback()


@pytest.fixture
def small_gateway(host_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """One whose plugin server has two workers, and room for two more requests."""
    monkeypatch.setenv("KONG_SCIM_WORKERS", "2")
    monkeypatch.setenv("KONG_SCIM_QUEUE", "2")
    with running_gateway(host_name) as gateway:
        yield gateway


def test_a_full_queue_is_503_at_once_and_all_is_well_afterwards(small_gateway: Gateway) -> None:
    gateway = small_gateway
    bodies = [user_body(f"user-{number}") for number in range(12)]
    with ThreadPoolExecutor(len(bodies)) as threads:
        with stalled_database(gateway):
            creations = [threads.submit(gateway.scim.post, "/Users", json=body) for body in bodies]
            eventually(lambda: sum(each.done() for each in creations) >= 8, "the refusals")
            refusals = [each.result() for each in creations if each.done()]
        rest = [each.result() for each in creations if each.result() not in refusals]
    for answer in refusals:
        assert refused(answer, 503) == "The plugin server is busy."
        assert answer.headers["Retry-After"] == "1"
    # Unless the database was away for too long.
    made = len([answered(each, 201) for each in rest if "Retry-After" not in each.headers])
    assert made <= len(rest) <= 4  # a tenant has half of the workers, and half of the queue
    assert len(answered(gateway.scim.get("/Users"), 200).get("Resources", [])) == made
    new_user(gateway.scim)


@pytest.fixture
def single_worker(host_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """One whose plugin server has one worker."""
    monkeypatch.setenv("KONG_SCIM_WORKERS", "1")
    with running_gateway(host_name) as gateway:
        yield gateway


@pytest.mark.parametrize(
    "host_name",
    ["sandbox-off", pytest.param("kong-dbless", marks=requires_kong)],
    indirect=True,
    scope="session",
)
def test_writes_that_wait_for_a_tick_do_not_keep_it_from_running(single_worker: Gateway) -> None:
    """Each has the only worker until a tick has told Kong of all consumers again."""
    gateway = single_worker
    content = {"config": json.dumps(gateway.content)}
    for _ in range(4):
        gateway.admin.post("/config", json=content).raise_for_status()
        new_user(gateway.scim)
