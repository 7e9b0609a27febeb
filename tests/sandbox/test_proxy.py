"""What stands between a request and its upstream, and what the upstream sees."""

from __future__ import annotations

import contextlib
import socket

import httpx
import pytest

from hosts import SandboxHost

KEY = {"apikey": "declared-key"}


def message(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["message"]


class TestKeyAuth:
    def test_takes_a_key_from_the_query_too(self, proxy: httpx.Client) -> None:
        assert proxy.get("/rec-3988b0?apikey=declared-key").status_code == 200

    def test_takes_no_key_from_the_query_where_it_is_told_not_to(self, proxy: httpx.Client) -> None:
        answer = proxy.get("/header-only?apikey=declared-key")
        assert message(answer) == (401, "No API key found in request")
        assert proxy.get("/header-only", headers=KEY).status_code == 200

    def test_refuses_two_keys(self, proxy: httpx.Client) -> None:
        two = [("apikey", "declared-key"), ("apikey", "declared-key")]
        assert message(proxy.get("/rec-3988b0", headers=two)) == (401, "Duplicate API key found")
        answer = proxy.get("/rec-3988b0?apikey=a&apikey=b")
        assert message(answer) == (401, "Duplicate API key found")

    def test_hides_the_key_from_the_upstream_where_it_is_told_to(self, proxy: httpx.Client) -> None:
        shown = proxy.get("/open?apikey=x&b=2", headers=KEY).json()
        assert shown["headers"]["apikey"] == "declared-key"
        assert "apikey=x" in shown["path"]
        hidden = proxy.get("/hidden?b=2", headers=KEY).json()
        assert "apikey" not in hidden["headers"]
        assert proxy.get("/hidden?apikey=declared-key&b=2").json()["path"] == "/?b=2"

    def test_has_names_and_a_realm_of_its_own(self, proxy: httpx.Client) -> None:
        assert proxy.get("/renamed", headers={"X-Key": "declared-key"}).status_code == 200
        assert proxy.get("/renamed?key=declared-key").status_code == 200
        refused = proxy.get("/renamed", headers=KEY)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Key realm="here"'

    @pytest.mark.parametrize("key", [b"", b"' OR 1=1 --", "ключ".encode(), b"\xe9", b"k" * 8000])
    def test_refuses_any_other_key(self, proxy: httpx.Client, key: bytes) -> None:
        answer = proxy.get("/rec-3988b0", headers={"apikey": key})
        assert answer.status_code == 401

    def test_refuses_a_key_with_a_nul(self, proxy: httpx.Client) -> None:
        assert proxy.get("/rec-3988b0?apikey=declared-key%00").status_code == 401


class TestAcl:
    def test_an_empty_handed_request_is_401(self, proxy: httpx.Client) -> None:
        assert message(proxy.get("/acl-alone")) == (401, "Unauthorized")

    def test_a_denied_group_is_403(self, proxy: httpx.Client) -> None:
        answer = proxy.get("/denied", headers=KEY)
        assert message(answer) == (403, "You cannot consume this service")

    def test_the_upstream_sees_the_groups_unless_they_are_hidden(self, proxy: httpx.Client) -> None:
        shown = proxy.get("/rec-3988b0", headers=KEY).json()["headers"]
        assert set(shown["x-consumer-groups"].split(", ")) == {"devs", "ops"}
        assert "x-consumer-groups" not in proxy.get("/quiet", headers=KEY).json()["headers"]


class TestTheGuard:
    def test_refuses_a_suspended_consumer_before_acl(self, proxy: httpx.Client) -> None:
        answer = proxy.get("/rec-3988b0", headers={"apikey": "suspended-key"})
        assert answer.status_code == 403
        assert answer.json() == {"message": "This account is suspended"}

    def test_does_not_mind_where_nobody_is_authenticated(self, proxy: httpx.Client) -> None:
        assert proxy.get("/open", headers={"apikey": "suspended-key"}).status_code == 200


class TestTheUpstream:
    def test_sees_what_the_gateway_says_of_the_client_and_not_what_the_client_says(
        self, proxy: httpx.Client
    ) -> None:
        claims = {
            "X-Consumer-Username": "admin",
            "X-Consumer-Groups": "admins",
            "X-Forwarded-Proto": "https",
            "X-Real-IP": "203.0.113.1",
        }
        seen = proxy.get("/hidden", headers={**KEY, **claims}).json()["headers"]
        assert seen["x-consumer-username"] == "declared"
        assert seen["x-forwarded-proto"] == "http"
        assert seen["x-real-ip"] == "127.0.0.1"

    def test_gets_the_body_and_the_rest_of_the_path(self, proxy: httpx.Client) -> None:
        answer = proxy.post("/builtin/a%2Fb?x=1&x=2", content=b"body")
        assert answer.json()["path"] == "/base/a%2Fb?x=1&x=2"
        assert answer.json()["body"] == "body"
        assert proxy.get("/kept/a").json()["path"] == "/base/kept/a"

    def test_gets_a_body_of_unknown_length(self, proxy: httpx.Client) -> None:
        pieces = (piece for piece in [b"a" * 70_000, b"b"])
        assert proxy.post("/builtin", content=pieces).json()["body"] == "a" * 70_000 + "b"

    def test_that_is_not_there_is_502(self, proxy: httpx.Client) -> None:
        answer = proxy.get("/nobody")
        assert answer.status_code == 502
        assert "invalid response" in answer.json()["message"]

    def test_is_needed(self, proxy: httpx.Client) -> None:
        assert message(proxy.get("/no-service")) == (503, "no Service found with those values")

    @pytest.mark.parametrize("path", ["/a%20b", "/a[b]", "/a%2Fb%2fc", "/a;b=c", "/'()!"])
    def test_gets_the_path_as_the_client_wrote_it(self, proxy: httpx.Client, path: str) -> None:
        url = httpx.URL(str(proxy.base_url)).copy_with(raw_path=f"/open{path}".encode())
        assert proxy.get(url).json()["path"] == path.replace("%2f", "%2F")

    def test_gets_a_header_that_is_no_utf_8_as_it_is(self, proxy: httpx.Client) -> None:
        seen = proxy.get("/open", headers={"x-name": b"Andr\xe9"}).json()["headers"]
        assert seen["x-name"] == "André"  # read as Latin-1


class TestWhatNginxRefusesFirst:
    """As seen on Kong 3.9.3 with its own settings."""

    @pytest.mark.parametrize(
        ("status", "text", "request_line", "headers"),
        [
            (414, "URI too long", "GET /open?" + "a" * 9000, ""),
            (400, "Request header or cookie too large", "GET /open", "X-A: " + "a" * 9000 + "\r\n"),
            (
                400,
                "Request header or cookie too large",
                "GET /open",
                "".join(f"X-A{number}: {'a' * 4000}\r\n" for number in range(10)),
            ),
            (400, "Bad request", "GET /open/%00", ""),
            (400, "Bad request", "GET /open/%zz", ""),
            (400, "Bad request", "CONNECT gw:80", ""),
            (400, "Bad request", "OPTIONS *", ""),
            (400, "Bad request", "GET /open", "Host: another\r\n"),
            (
                400,
                "Bad request",
                "POST /open",
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            ),
            (405, "Method not allowed", "TRACE /open", ""),
        ],
    )
    def test_with_a_text(
        self, sandbox: SandboxHost, status: int, text: str, request_line: str, headers: str
    ) -> None:
        url = httpx.URL(sandbox.proxy_urls[0])
        with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
            head = f"{request_line} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n{headers}\r\n"
            connection.sendall(head.encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        assert answer.startswith(f"HTTP/1.1 {status} ")
        assert f"\r\n\r\n{text}\nrequest_id: " in answer

    def test_a_head_without_an_end(self, sandbox: SandboxHost) -> None:
        answer = _sent(sandbox, b"GET /open HTTP/1.1\r\nX-A: " + b"a" * 1024 * 1024)
        assert answer.startswith(b"HTTP/1.1 400 ")

    def test_a_request_without_a_host(self, sandbox: SandboxHost) -> None:
        answer = _sent(sandbox, b"GET /open HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert _sent(sandbox, b"GET /open HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")

    def test_with_json_where_json_is_accepted(self, proxy: httpx.Client) -> None:
        assert message(proxy.get("/open?" + "a" * 9000)) == (414, "URI too long")

    def test_but_a_path_that_is_no_utf_8_matches_no_route(self, proxy: httpx.Client) -> None:
        assert message(proxy.get("/open/%E9")) == (404, "no Route matched with those values")
        assert proxy.get("/open/%C3%A9").status_code == 200


def test_what_follows_a_chunked_body_is_no_header(sandbox: SandboxHost) -> None:
    head = b"POST /rec-3988b0 HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n"
    body = b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\napikey: declared-key\r\n\r\n"
    assert _sent(sandbox, head + body).startswith(b"HTTP/1.1 401 ")


def _sent(sandbox: SandboxHost, request: bytes) -> bytes:
    """Send octets, and return what comes until the end of the connection."""
    url = httpx.URL(sandbox.proxy_urls[0])
    with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
        with contextlib.suppress(OSError):  # the answer may come before all is sent
            connection.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                answer += piece
    return answer


def test_plain_http_on_a_tls_route_is_426(proxy: httpx.Client) -> None:
    answer = proxy.get("/tls")
    assert message(answer) == (426, "Please use HTTPS protocol")
    assert answer.headers["upgrade"] == "TLS/1.2, HTTP/1.1"


def test_both_ports_listen_on_loopback_only(sandbox: SandboxHost) -> None:
    other = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)[0][4][0]
    for url in (sandbox.proxy_urls[0], sandbox.admin_url):
        port = httpx.URL(url).port
        assert port is not None
        # A second listener on any other address finds the port free.
        with socket.create_server((other if other != "127.0.0.1" else "127.0.0.2", port)):
            pass
