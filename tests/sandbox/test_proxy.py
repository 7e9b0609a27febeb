"""What stands between a request and its upstream, and what the upstream sees."""

from __future__ import annotations

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

    @pytest.mark.parametrize("key", ["", "' OR 1=1 --", "ключ", "k" * 9000])
    def test_refuses_any_other_key(self, proxy: httpx.Client, key: str) -> None:
        answer = proxy.get("/rec-3988b0", headers={"apikey": key.encode()})
        assert answer.status_code == 401


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


def test_plain_http_on_a_tls_route_is_426(proxy: httpx.Client) -> None:
    answer = proxy.get("/tls")
    assert message(answer) == (426, "Please use HTTPS protocol")
    assert answer.headers["upgrade"] == "TLS/1.2, HTTP/1.1"


def test_both_ports_listen_on_loopback_only(sandbox: SandboxHost) -> None:
    other = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)[0][4][0]
    for url in (sandbox.proxy_url, sandbox.admin_url):
        port = httpx.URL(url).port
        assert port is not None
        # A second listener on any other address finds the port free.
        with socket.create_server((other if other != "127.0.0.1" else "127.0.0.2", port)):
            pass
