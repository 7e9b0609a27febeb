"""An issuer's keys over HTTP: kept, fetched again for a new one, and never too often."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from access_support import client, plugin_with
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import OctKey, RSAKey
from test_jwt_bearer import AUDIENCE, ISSUER, signed

from host_processes import eventually
from kong_scim.access import keys
from kong_scim.access.keys import FetchedKeys, fetched
from kong_scim.access.refusals import KeysUnavailableException
from kong_scim.waiting import Room
from scim_traffic import answered, refused

FIRST = RSAKey.generate_key(2048, {"kid": "first"}, private=True)
SECOND = RSAKey.generate_key(2048, {"kid": "second"}, private=True)


def document(*published: Any) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) for key in published]}).encode()


class Issuer:
    """Publishes keys, on a clock of the test's."""

    def __init__(self, *published: Any) -> None:
        self.published: bytes | Exception = document(*published)
        self.fetches = 0
        self.now = 0.0
        self.keys = FetchedKeys(
            "https://idp.example/keys", floor=30, fetch=self.fetch, clock=lambda: self.now
        )

    def fetch(self, url: str) -> bytes:
        self.fetches += 1
        if isinstance(self.published, Exception):
            raise self.published
        return self.published

    def find(self, kid: str | None) -> Any:
        return self.keys.find(kid, "RS256")


def test_keys_are_fetched_once_and_kept() -> None:
    issuer = Issuer(FIRST)
    for _ in range(5):
        assert issuer.find("first").kid == "first"
    assert issuer.fetches == 1


def test_a_new_key_is_fetched_when_it_is_first_used() -> None:
    issuer = Issuer(FIRST)
    issuer.find("first")
    issuer.published = document(FIRST, SECOND)
    issuer.now = 30
    assert issuer.find("second").kid == "second"
    assert issuer.fetches == 2


def test_invented_key_ids_cause_no_more_than_one_fetch_in_the_floor() -> None:
    issuer = Issuer(FIRST)
    issuer.find("first")
    for second in range(1, 91):
        issuer.now = second
        with pytest.raises(InvalidKeyIdError):
            issuer.find(f"invented-{second}")
    assert issuer.fetches == 4


def test_a_withdrawn_key_goes_within_an_hour() -> None:
    issuer = Issuer(FIRST, SECOND)
    issuer.find("second")
    issuer.published = document(FIRST)
    issuer.now = keys.MAX_AGE
    with pytest.raises(InvalidKeyIdError):
        issuer.find("second")


@pytest.mark.parametrize(
    "answer",
    [
        TimeoutError(),
        b"",
        b"[]",
        b"{}",
        b'{"keys": 7}',
        b'{"keys": [7]}',
        b"\xff",
        pytest.param(
            json.dumps({"keys": [OctKey.generate_key().as_dict(private=True)]}).encode(),
            id="a symmetric key",  # a random one, and tests have one name in every process
        ),
    ],
)
def test_an_issuer_that_fails_does_not_take_away_the_keys_there_are(
    answer: bytes | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer(FIRST)
    issuer.find("first")
    issuer.published = answer
    issuer.now = keys.MAX_AGE + 1
    assert issuer.find("first").kid == "first"
    assert "cannot be had" in caplog.text
    issuer.now = keys.KEPT + 31
    with pytest.raises(KeysUnavailableException):
        issuer.find("first")


def test_an_issuer_that_never_answered_is_asked_once_in_the_floor_and_the_answer_is_503() -> None:
    issuer = Issuer()
    issuer.published = TimeoutError()
    for second in range(60):
        issuer.now = second
        with pytest.raises(KeysUnavailableException):
            issuer.find("first")
    assert issuer.fetches == 2


def test_a_slow_issuer_holds_few_workers() -> None:
    """The others are answered 503 at once, and serve whoever has another token."""
    issuer = Issuer(FIRST)
    go_on, outcomes = threading.Event(), []

    def fetch(url: str) -> bytes:
        go_on.wait(30)
        return document(FIRST)

    issuer.keys._fetch = fetch

    def ask() -> None:
        try:
            outcomes.append(issuer.find("first").kid)
        except KeysUnavailableException:
            outcomes.append("503")

    places = Room(least=0, workers=16).places
    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    # Which ones wait is up to the threads; the others are done without the issuer.
    eventually(lambda: len(outcomes) >= 16 - places, "those that do not wait")
    assert set(outcomes) == {"503"}
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert outcomes.count("first") == places


# -- Over HTTP -------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    published = b""

    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/keys")
        self.end_headers()
        content = b"x" * (keys.MAX_SIZE + 1) if self.path == "/large" else self.published
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Server.published = document(FIRST)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_jwt_is_held_against_the_published_keys(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    settings = {
        "issuer": ISSUER,
        "audience": [AUDIENCE],
        "jwks_url": f"{url}/keys",
        "allow_http": True,
    }
    plugin, directory = plugin_with(monkeypatch, jwt=settings)
    answered(client(plugin, token=signed(FIRST, {"kid": "first"})).get("/Users"), 200)
    directory.reached.clear()
    refused(client(plugin, token=signed(SECOND, {"kid": "first"})).get("/Users"), 401)
    refused(client(plugin, token=signed(SECOND, {"kid": "second"})).get("/Users"), 401)
    assert directory.reached == []


def test_an_issuer_out_of_reach_is_503_with_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "issuer": ISSUER,
        "audience": [AUDIENCE],
        "jwks_url": "http://127.0.0.1:9/keys",
        "allow_http": True,
    }
    plugin, _ = plugin_with(monkeypatch, jwt=settings)
    response = client(plugin, token=signed()).get("/Users")
    refused(response, 503)
    assert int(response.headers["Retry-After"]) == 30


@pytest.mark.parametrize("path", ["/moved", "/large"])
def test_redirects_are_not_followed_and_large_documents_not_read(url: str, path: str) -> None:
    with pytest.raises((OSError, ValueError)):
        fetched(url + path)
