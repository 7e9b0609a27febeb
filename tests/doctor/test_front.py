"""``kong-scim doctor`` names the faults of the network, of what is in front, and of tokens."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from doctor_support import IDP, TOKENS, Telling, answering, digest, failed, finding, look, wrong

from certificates import Authority
from hosts import Gateway
from kong_scim.doctor.report import State
from ports import free_port
from variants import variant

# -- What the network and the front say ------------------------------------------


def test_a_name_without_an_address_could_not_be_looked_at() -> None:
    report = look("https://no such host/scim/v2".replace(" ", "-") + ".invalid")
    assert finding(report, "address").state is State.FAILED
    assert report.exit_status() == 2


def test_a_port_where_nobody_listens() -> None:
    report = look(f"http://127.0.0.1:{free_port()}/scim/v2")
    assert "Nothing answers" in finding(report, "address").found
    assert report.exit_status() == 2


def test_a_port_without_tls(good: Gateway) -> None:
    assert "No TLS" in failed(look(good.scim_base.replace("http:", "https:")), "tls")


@contextlib.contextmanager
def tls_in_front(gateway: Gateway, context: ssl.SSLContext) -> Iterator[str]:
    """A proxy that ends TLS before the gateway, and tells it nothing; yields the base URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    base = httpx.URL(gateway.scim_base)

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                with contextlib.suppress(OSError):
                    secured = context.wrap_socket(client, server_side=True)
                    inner = socket.create_connection((base.host, base.port or 80))
                    for pair in ((secured, inner), (inner, secured)):
                        threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    port = listening.getsockname()[1]
    yield str(base.copy_with(scheme="https", host="localhost", port=port))
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(tmp_path / "authority", "doctor")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    return made


def test_plain_http_behind_a_proxy_that_kong_does_not_trust(
    host: Gateway, authority: Authority
) -> None:
    with (
        variant(host, tokens=TOKENS, require_https=True) as strict,
        tls_in_front(strict, authority.server("localhost")) as url,
    ):
        assert "Use https" in failed(look(url), "https")


def test_plain_http_behind_a_proxy_where_the_plugin_allows_it(
    good: Gateway, authority: Authority
) -> None:
    with tls_in_front(good, authority.server("localhost")) as url:
        report = look(url)
    assert "sees plain HTTP" in failed(report, "https")
    assert "TLS ends before Kong" in failed(report, "base-url")
    # The certificate of this authority lasts for a day.
    assert set(wrong(report)) == {"https", "base-url", "tls"}


def test_a_certificate_that_nobody_trusts(good: Gateway, tmp_path: Path) -> None:
    context = Authority(tmp_path, "unknown").server("localhost")
    with tls_in_front(good, context) as url:
        assert "not trusted" in failed(look(url), "tls")


def test_a_url_that_is_not_the_route_s(good: Gateway) -> None:
    assert "no Route matched" in failed(look(good.proxy_url + "/skim/v2"), "route")


def test_a_service_that_answers_in_place_of_the_plugin() -> None:
    report = look("http://gw.example/scim/v2", transport=answering(200, {"hello": "world"}))
    assert failed(report, "route")


def test_a_plugin_in_front_that_refuses_the_provider(host: Gateway) -> None:
    with variant(host, in_front=[{"name": "key-auth"}], tokens=TOKENS) as gateway:
        assert "No API key found" in failed(look(gateway.scim_base), "front")


def test_a_gateway_that_calls_itself_something_else(host: Gateway) -> None:
    with variant(host, tokens=TOKENS, base_url="http://gw.example/scim/v2") as gateway:
        report = look(gateway.scim_base)
    assert finding(report, "base-url").state is State.WARNING
    assert report.exit_status() == 0
    assert report.exit_status(strict=True) == 1


# -- Tokens ----------------------------------------------------------------------


def test_a_wrong_token(good: Gateway) -> None:
    assert set(wrong(look(good.scim_base, token="wrong"))) == {"token"}
    assert set(wrong(look(good.scim_base, token=None))) == {"token"}


EXPIRED = {"name": "old", "sha256": digest("old"), "expires": "2020-01-01T00:00:00Z"}


def test_an_expired_token(host: Gateway) -> None:
    with variant(host, tokens=[*TOKENS, EXPIRED]) as gateway:
        assert "expired at 2020" in failed(look(gateway.scim_base, token="old"), "expiry")
        assert "old expired at 2020" in failed(look(gateway.scim_base), "expiry")


def test_a_token_that_expires_soon(good: Gateway) -> None:
    ends = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"

    def change(facts: Any) -> None:
        facts["tokens"][0]["expires"] = ends

    report = look(good.scim_base, transport=Telling("/Doctor", change))
    assert finding(report, "expiry").state is State.WARNING


def test_too_few_scopes(host: Gateway) -> None:
    readers = [{"name": "idp", "sha256": digest("reader"), "scopes": ["scim:read"]}, TOKENS[1]]
    with variant(host, tokens=[*readers, {**IDP, "name": "t", "scopes": ["scim:groups"]}]) as of:
        reader = look(of.scim_base, token="reader")
        assert "scim:groups and scim:users" in failed(reader, "scopes")
    with variant(host, tokens=[{**IDP, "scopes": ["scim:users", "scim:admin"]}]) as of:
        report = look(of.scim_base, token=of.token)
        assert "has the scope scim:admin" in finding(report, "scopes").found


def test_no_token_that_may_provision(good: Gateway) -> None:
    def change(facts: Any) -> None:
        for token in facts["tokens"]:
            token["scopes"] = ["scim:read"]

    report = look(good.scim_base, transport=Telling("/Doctor", change))
    assert "No token may write" in failed(report, "scopes")


def test_a_secret_in_clear(host: Gateway) -> None:
    clear = {"name": "clear", "value": "a secret in clear"}
    with variant(host, tokens=[*TOKENS, clear]) as gateway:
        report = look(gateway.scim_base)
        assert "config.tokens[clear].value" in failed(report, "secrets")
        assert "a secret in clear" not in json.dumps(
            [each.to_json() for each in report.findings() if each.check != "secrets"]
        )
