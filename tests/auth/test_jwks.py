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
from joserfc.jwk import OctKey, OKPKey, RSAKey
from test_jwt_bearer import AUDIENCE, ISSUER, signed
from test_jwt_configuration import WEAK

from host_processes import eventually
from kong_scim.auth import issuer_keys
from kong_scim.auth.errors import KeysUnavailableException
from kong_scim.auth.issuer_keys import FetchedKeys, fetched
from kong_scim.worker_slots import WorkerSlots
from receiver import raw_answer
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
        self.released = threading.Event()
        """Whether an answer comes at once; else it waits until this is set."""
        self.released.set()
        self.now = 0.0
        self.keys = FetchedKeys(
            "https://idp.example/keys", floor=30, fetch=self.fetch, clock=lambda: self.now
        )

    def fetch(self, url: str) -> bytes:
        self.fetches += 1
        self.released.wait(30)
        if isinstance(self.published, Exception):
            raise self.published
        return self.published

    def find(self, kid: str | None) -> Any:
        return self.keys.find(kid, "RS256")


def knows(issuer: Issuer, kid: str) -> bool:
    try:
        return bool(issuer.find(kid).kid == kid)
    except InvalidKeyIdError:
        return False


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
    issuer.now = issuer_keys.MAX_AGE
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
    issuer.now = issuer_keys.MAX_AGE + 1
    assert issuer.find("first").kid == "first"
    assert "cannot be had" in caplog.text
    issuer.now = issuer_keys.KEPT + 31
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
    outcomes: list[str] = []
    issuer.released.clear()

    def ask() -> None:
        try:
            outcomes.append(issuer.find("first").kid)
        except KeysUnavailableException:
            outcomes.append("503")

    places = WorkerSlots(least=0, workers=16).places
    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    # Which ones wait is up to the threads; the others are done without the issuer.
    eventually(lambda: len(outcomes) >= 16 - places, "those that do not wait")
    assert set(outcomes) == {"503"}
    issuer.released.set()
    for thread in threads:
        thread.join(30)
    assert outcomes.count("first") == places


def test_an_issuer_that_hangs_holds_up_nobody_whose_key_is_known() -> None:
    """Forty requests with keys past their age: all pass, and one thread asks the issuer."""
    issuer = Issuer(FIRST)
    issuer.find("first")
    outcomes: list[str] = []
    issuer.published = document(SECOND)
    issuer.released.clear()
    issuer.now = issuer_keys.MAX_AGE + 1

    def ask() -> None:
        try:
            outcomes.append(issuer.find("first").kid)
        except KeysUnavailableException:
            outcomes.append("503")

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outcomes == ["first"] * 40
    assert issuer.fetches == 2
    issuer.released.set()
    eventually(lambda: knows(issuer, "second"), "the keys that were fetched")
    with pytest.raises(InvalidKeyIdError):
        issuer.find("first")


def test_one_key_of_many_that_cannot_be_used_takes_no_other_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = FIRST.as_dict(private=False)
    bad = [
        *(None, 7, "key", [], {}, {"kty": "RSA"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {"kty": "OKP", "crv": "Ed25519", "x": 7},
        {"kty": ["RSA"]},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
        {**good, "kid": {"a": 1}},
        WEAK.as_dict(private=False),
        OKPKey.generate_key("X25519", {"kid": "x"}).as_dict(private=False),
    ]
    issuer = Issuer()
    issuer.published = json.dumps({"keys": [*bad, good]}).encode()
    assert issuer.find("first").kid == "first"
    with pytest.raises(InvalidKeyIdError):
        issuer.find("weak")
    assert caplog.records == []


def test_keys_that_are_all_too_weak_are_none_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer = Issuer(WEAK)
    for second in (0, 31, 62):
        issuer.now = second
        with pytest.raises(KeysUnavailableException):
            issuer.find("weak")
    assert caplog.text.count("an RSA key of 1024 bits is too short") == 1


# -- Over HTTP -------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    published = b""

    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/keys")
        self.end_headers()
        content = b"x" * (issuer_keys.MAX_SIZE + 1) if self.path == "/large" else self.published
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


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nX-Drip: ", *[b"x"] * 200],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *[b" "] * 200],
        [b"HTTP/1.1 102 Processing\r\n\r\n"] * 200,
        [*[bytes([each]) for each in b"HTTP/1.1 200 OK\r\n" * 10]],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * 200],
        [],
    ],
    ids=["head", "body", "interim", "octets", "chunks", "nothing"],
)
def test_a_fetch_has_one_time_for_all_of_it_however_slowly_it_is_answered(
    monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]
) -> None:
    """Each octet comes well within the time: without one for all, this would take half a minute."""
    monkeypatch.setattr(issuer_keys, "TIMEOUT", 0.5)
    answering = raw_answer(*(pieces or [b""]), pause=0.2 if pieces else 60)
    with answering as slow, pytest.raises(OSError, match=r"no whole answer within 0\.5 s"):
        fetched(slow)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "answered 500"),
        (b"HTTP/1.1 204 Nothing\r\n\r\n", "answered 204"),
        (b"nonsense\r\n\r\n", "connection failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "connection failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "connection failed"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 200_000, "connection failed"),
        (b"", "connection failed"),
    ],
    ids=range(8),
)
def test_what_is_no_answer_fails_with_a_sentence_of_ours(answer: bytes, why: str) -> None:
    with raw_answer(answer) as url, pytest.raises(OSError, match=why):
        fetched(url)


def test_the_proxy_that_the_environment_names_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    with raw_answer(answer) as proxy:
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/hook"))
        monkeypatch.setenv("no_proxy", "inside.example")
        assert fetched("http://idp.example/keys") == b"{}"
        with pytest.raises(OSError, match="not known"):
            fetched("http://inside.example/keys")


@pytest.mark.parametrize("path", ["/moved", "/large"])
def test_redirects_are_not_followed_and_large_documents_not_read(url: str, path: str) -> None:
    with pytest.raises((OSError, ValueError)):
        fetched(url + path)
