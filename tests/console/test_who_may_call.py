"""Who may call the console's server, and what it passes on: without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from gateway import Relay
from windows import TOKEN, RunningConsole

from kong_scim.console.forwarding import LARGEST_BODY
from kong_scim.console.server import KEY_HEADER


class Session:
    """A session as a browser has it, whose parts a test can leave out."""

    def __init__(self, console: RunningConsole) -> None:
        self.http = httpx.Client(
            base_url=console.origin, headers={"Origin": console.origin}, trust_env=False
        )
        secret = console.link().partition("#secret=")[2]
        self.begun = self.http.post("/session", json={"secret": secret})
        self.key = self.begun.json()["key"]

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(path, headers={KEY_HEADER: self.key, **headers})

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return self.http.post(path, json=body, headers={KEY_HEADER: self.key, **headers})


@pytest.fixture
def session(shared_console: RunningConsole, relay: Relay) -> Iterator[Session]:
    session = Session(shared_console)
    yield session
    session.http.close()


class TestTheSession:
    def test_is_a_cookie_that_no_script_and_no_other_site_gets(self, session: Session) -> None:
        cookie = session.begun.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert session.get("/session").json()["gateway"].endswith("/scim/v2")

    def test_needs_its_cookie_and_its_key(self, session: Session) -> None:
        # A server on another port of this machine sees the cookie, and not the key.
        assert session.http.get("/api/Overview").status_code == 401
        assert session.get("/api/Overview", **{KEY_HEADER: "another"}).status_code == 401
        session.http.cookies.clear()
        assert session.get("/api/Overview").status_code == 401

    def test_ends_when_it_is_told_to(self, session: Session) -> None:
        ended = session.http.delete("/session", headers={KEY_HEADER: session.key})
        assert ended.status_code == 204
        assert session.get("/api/Overview").status_code == 401

    @pytest.mark.parametrize("body", [b"", b"[]", b'{"secret": 1}', b'{"secret": "x"}', b"{"])
    def test_begins_with_the_secret_only(self, shared_console: RunningConsole, body: bytes) -> None:
        origin = {"Origin": shared_console.origin}
        answer = httpx.post(f"{shared_console.origin}/session", content=body, headers=origin)
        assert answer.status_code == 403
        assert "The terminal shows" in answer.json()["detail"]


class TestAnotherSite:
    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example:80"])
    def test_that_resolves_to_this_machine_gets_nothing(self, session: Session, host: str) -> None:
        for path in ("/", "/static/app.js", "/session", "/api/Overview"):
            assert session.get(path, Host=host).status_code == 421

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
    def test_cannot_have_the_browser_send_requests(self, session: Session, origin: str) -> None:
        body = {"decision": "approve"}
        assert session.post("/api/Quarantine", body, Origin=origin).status_code == 403
        assert session.get("/api/Overview", Origin=origin).status_code == 403

    def test_a_request_that_changes_something_says_where_it_comes_from(
        self, session: Session
    ) -> None:
        del session.http.headers["Origin"]
        assert session.post("/api/Quarantine", {"decision": "lift"}).status_code == 403
        assert session.get("/api/Quarantine").status_code == 200

    def test_cannot_frame_it_and_the_page_loads_nothing_from_elsewhere(
        self, session: Session
    ) -> None:
        for path in ("/", "/static/app.js", "/api/Overview", "/nosuch"):
            headers = session.get(path).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "access-control-allow-origin" not in headers


class TestWhatIsPassedOn:
    def test_the_token_of_the_console_and_no_header_of_the_browser(
        self, session: Session, relay: Relay
    ) -> None:
        answer = session.get("/api/Users?count=1", Authorization="Bearer of the browser")
        assert answer.status_code == 200
        assert relay.tokens == {f"Bearer {TOKEN}"}
        everything = str(answer.headers) + answer.text + session.get("/session").text
        assert TOKEN not in everything

    @pytest.mark.parametrize(
        "path",
        [
            "/api/ServiceProviderConfig",
            "/api/Users/../ServiceProviderConfig",
            "/api/Users/%2e%2e/ServiceProviderConfig",
            "/api/Users/a%2Fb",
            "/api/Users/a%3Fb",
            "/api//evil.example/Users",
            "/api/Events/tokens/x",
            "/api/",
        ],
    )
    def test_nothing_but_what_the_page_needs(
        self, session: Session, relay: Relay, path: str
    ) -> None:
        sent = session.http.build_request("GET", path, headers={KEY_HEADER: session.key})
        sent.url = sent.url.copy_with(raw_path=path.encode())
        assert session.http.send(sent).status_code == 404
        assert relay.calls == []

    def test_people_and_groups_are_never_written(self, session: Session, relay: Relay) -> None:
        assert session.post("/api/Users", {"userName": "x"}).status_code == 404
        for method in ("PUT", "PATCH", "DELETE"):
            answer = session.http.request(method, "/api/Users/x", headers={KEY_HEADER: session.key})
            assert answer.status_code == 405
        assert relay.calls == []

    def test_no_more_than_a_page_sends(self, session: Session) -> None:
        body = {"groups": {"pattern": "x" * LARGEST_BODY}}
        assert session.post("/api/Mapping", body).status_code == 413
        assert session.get("/api/People?search=" + "x" * 5000).status_code == 414

    def test_no_redirect_to_another_server(self, session: Session, relay: Relay) -> None:
        relay.answers["/People"] = (302, {"detail": "elsewhere"})
        assert session.get("/api/People").status_code == 302
        assert "location" not in session.get("/api/People").headers

    def test_files_of_the_page_and_no_others(self, session: Session) -> None:
        assert session.get("/static/app.js").headers["content-type"].startswith("text/javascript")
        for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/"):
            sent = session.http.build_request("GET", "/")
            sent.url = sent.url.copy_with(raw_path=path.encode())
            assert session.http.send(sent).status_code == 404


class TestBehindASignOn:
    @pytest.fixture
    def signed_on(self, _shared_relay: Relay) -> Iterator[httpx.Client]:
        url = "https://console.example.com"
        options = ["--trust-header", "X-Auth-Request-Email", "--public-url", url]
        console = RunningConsole(_shared_relay.url, TOKEN, *options)
        headers = {"Host": urlsplit(url).netloc, "Origin": url, KEY_HEADER: "1"}
        with httpx.Client(base_url=console.origin, headers=headers, trust_env=False) as client:
            yield client
        console.stop()

    def test_the_user_is_whom_it_names(self, signed_on: httpx.Client) -> None:
        user = {"X-Auth-Request-Email": "ada@example.com"}
        assert signed_on.get("/session", headers=user).json()["user"] == "ada@example.com"
        assert signed_on.get("/api/Overview", headers=user).status_code == 200
        refused = signed_on.get("/api/Overview")
        assert refused.status_code == 401
        assert "did not say who you are in X-Auth-Request-Email" in refused.text

    def test_it_answers_under_the_public_name_only(self, signed_on: httpx.Client) -> None:
        user = {"X-Auth-Request-Email": "ada@example.com"}
        there = {**user, "Host": signed_on.base_url.netloc.decode()}
        assert signed_on.get("/api/Overview", headers=there).status_code == 421
        elsewhere = {**user, "Origin": "https://evil.example"}
        assert signed_on.post("/api/Quarantine", headers=elsewhere).status_code == 403

    def test_a_form_of_another_site_has_no_key_header(self, signed_on: httpx.Client) -> None:
        del signed_on.headers[KEY_HEADER]
        user = {"X-Auth-Request-Email": "ada@example.com"}
        assert signed_on.get("/api/Overview", headers=user).status_code == 401


def test_the_page_has_no_script_and_no_style_within_it(session: Session) -> None:
    text = session.get("/").text
    assert re.findall(r"<style|\sstyle=|\son\w+=", text) == []
    assert all("src=" in each for each in re.findall(r"<script[^>]*>", text))
