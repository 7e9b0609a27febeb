"""``begin`` hands the whole request over, as Kong judges it."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from probe import Probe

from kong_process import KongProcess, requires_kong
from kong_scim.bridge import BRIDGE_VERSION
from kong_scim.bridge.client import PIECE
from postgres import Postgres

pytestmark = requires_kong

ARGUMENT = {"bridge_version": BRIDGE_VERSION, "max_body_size": 6_000_000, "require_https": False}
STRANGER = "127.0.0.2"
"""A client address outside of trusted_ips."""


def x_probe(**argument: Any) -> dict[str, str]:
    return {"X-Probe": json.dumps({"fn": "begin", "text": json.dumps(ARGUMENT | argument)})}


def request_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    request: dict[str, Any] = answer.json()["ok"]["request"]
    return request


def begin(probe: Probe, path: str, method: str = "GET", **options: Any) -> dict[str, Any]:
    headers = x_probe() | options.pop("headers", {})
    return request_of(probe.proxy.request(method, path, headers=headers, **options))


def raw(kong: KongProcess, head: bytes) -> dict[str, Any]:
    """Send a request byte by byte as given, without a body."""
    url = urlsplit(kong.proxy_url)
    with socket.create_connection((url.hostname, url.port), 10) as connection:
        probe = x_probe()["X-Probe"].encode()
        connection.sendall(head + b"X-Probe: " + probe + b"\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    text = answer.partition(b"\r\n\r\n")[2].decode()
    envelope = json.loads(text[text.index("{") : text.rindex("}") + 1])
    request: dict[str, Any] = envelope["ok"]["request"]
    return request


# -- The path --------------------------------------------------------------

PATHS = {
    "/probe": ("/", "/probe"),
    "/probe/Users": ("/Users", "/probe"),
    "/probe/Users/a%2Fb%20c": ("/Users/a%2Fb%20c", "/probe"),
    "/probe/Users/%C3%A9": ("/Users/%C3%A9", "/probe"),
    "/probeUsers": ("/Users", "/probe"),
    "/kept/scim/Users/1": ("/Users/1", "/kept/scim"),
    "/t/acme/scim/Users": ("/Users", "/t/acme/scim"),
    "/t/acme/scim": ("/", "/t/acme/scim"),
    "//probe//Users": ("/Users", "/probe"),
    "/%70robe/Users": ("/Users", "/probe"),
}


@pytest.mark.parametrize("path", PATHS)
def test_the_path_is_what_is_below_the_routes_prefix(
    kong: KongProcess, probe: Probe, path: str
) -> None:
    request = raw(kong, f"GET {path}?a=%20&b HTTP/1.1\r\nHost: gw.example\r\n".encode())
    below, prefix = PATHS[path]
    assert request["path"] == below
    assert urlsplit(request["base_url"]).path == prefix
    assert request["query"] == "a=%20&b"


def test_bytes_that_are_not_ascii_are_percent_encoded_in_the_path(
    kong: KongProcess, probe: Probe
) -> None:
    request = raw(kong, b"GET /probe/\xc3\xa9?x=\xff HTTP/1.1\r\nHost: gw.example\r\n")
    assert (request["path"], request["query"]) == ("/%C3%A9", "x=%FF")


def test_header_bytes_that_are_not_utf8_are_read_as_latin1(kong: KongProcess, probe: Probe) -> None:
    request = raw(
        kong, b"GET /probe HTTP/1.1\r\nHost: x\r\nX-Latin: caf\xe9\r\nX-Utf8: caf\xc3\xa9\r\n"
    )
    assert request["headers"]["x-latin"] == request["headers"]["x-utf8"] == "café"


def test_the_first_of_repeated_headers_counts(probe: Probe) -> None:
    headers = [*x_probe().items(), ("X-Twice", "one"), ("X-Twice", "two")]
    request = request_of(probe.proxy.get("/probe", headers=headers))
    assert request["headers"]["x-twice"] == "one"


# -- Where it came from ----------------------------------------------------


def test_a_trusted_proxy_says_what_the_client_used(probe: Probe) -> None:
    forwarded = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "gw.example.com",
        "X-Forwarded-Port": "443",
        "X-Real-IP": "203.0.113.9",
    }
    request = begin(probe, "/probe/Users", headers=forwarded)
    assert request["https"] is True
    assert request["base_url"] == "https://gw.example.com/probe"
    assert request["client_ip"] == "203.0.113.9"


def test_tls_ended_at_a_proxy_leaves_no_port_of_ours_in_the_url(probe: Probe) -> None:
    headers = {"X-Forwarded-Proto": "https", "Host": "gw.example.com"}
    assert begin(probe, "/probe", headers=headers)["base_url"] == "https://gw.example.com/probe"


def test_a_stranger_cannot_say_so(kong: KongProcess, probe: Probe) -> None:
    transport = httpx.HTTPTransport(local_address=STRANGER)
    forwarded = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "X-Real-IP": "203.0.113.9",
    }
    with httpx.Client(base_url=kong.proxy_url, transport=transport) as client:
        request = request_of(client.get("/probe", headers=x_probe() | forwarded))
    assert request["https"] is False
    assert request["base_url"] == kong.proxy_url + "/probe"
    assert request["client_ip"] == STRANGER


@pytest.mark.parametrize("host", ['a"b', "a/b", "a..b<x>", "a" * 300, "x y"])
def test_a_host_that_is_none_is_not_used(probe: Probe, host: str) -> None:
    request = begin(probe, "/probe", headers={"X-Forwarded-Host": host})
    assert urlsplit(request["base_url"]).hostname == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "origin"),
    [("GW.Example:8443", "http://gw.example:8443"), ("gw.example:80", "http://gw.example")],
)
def test_the_clients_port_is_kept_unless_it_is_the_default(
    probe: Probe, host: str, origin: str
) -> None:
    assert begin(probe, "/probe", headers={"Host": host})["base_url"] == origin + "/probe"


def test_tls_to_kong_itself_is_https(kong: KongProcess, probe: Probe) -> None:
    with httpx.Client(verify=False) as client:
        request = request_of(client.get(kong.tls_url + "/probe", headers=x_probe()))
    assert request["https"] is True
    assert request["base_url"] == kong.tls_url + "/probe"


def test_the_request_id_is_the_one_kong_answers_with(probe: Probe) -> None:
    answer = probe.proxy.get("/api/key-auth")
    assert answer.headers["x-kong-request-id"]
    request = begin(probe, "/probe")
    assert len(request["request_id"]) == len(answer.headers["x-kong-request-id"])


# -- The body --------------------------------------------------------------


def piece(probe: Probe, content: bytes, start: int, length: int) -> bytes:
    """Return what ``body`` hands over of a request's body."""
    text = json.dumps({"bridge_version": BRIDGE_VERSION, "from": start, "length": length})
    headers = {"X-Probe": json.dumps({"fn": "body", "text": text})}
    answer = probe.proxy.post("/probe", headers=headers, content=content)
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["ok"]["piece"])


@pytest.mark.parametrize("size", [0, 1, 8192])
def test_a_small_body_comes_with_the_head(probe: Probe, size: int) -> None:
    content = (bytes(range(256)) * 32)[:size]
    request = begin(probe, "/probe", "POST", content=content)
    assert (request["body_size"], request["body_too_large"]) == (size, False)
    assert base64.b64decode(request["body"]) == content


@pytest.mark.parametrize("size", [8193, 1_048_577, 5_000_000])
def test_a_larger_one_is_left_to_be_asked_for_in_pieces(probe: Probe, size: int) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    request = begin(probe, "/probe", "POST", content=content)
    assert (request["body_size"], request["body"]) == (size, "")
    assert request["body_too_large"] is False
    length = min(size, PIECE)
    for start in (0, 1, size - length, size - 1):
        assert piece(probe, content, start, length) == content[start : start + length]
    assert piece(probe, content, size, length) == b""


@pytest.mark.parametrize(
    "wrong", [{}, {"from": -1, "length": 1}, {"from": 0, "length": PIECE + 1}, {"from": "0"}]
)
def test_a_piece_that_is_none_is_refused(probe: Probe, wrong: dict[str, Any]) -> None:
    assert probe.call("body", **wrong)["error"]["name"] == "BAD_REQUEST"


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_not_handed_over(probe: Probe, size: int, chunked: bool) -> None:
    def chunks() -> Any:
        yield b"x" * (size + 1)

    headers = x_probe(max_body_size=size)
    content = chunks() if chunked else b"x" * (size + 1)
    request = request_of(probe.proxy.post("/probe", headers=headers, content=content))
    assert (request["body_too_large"], request["body"], request["body_size"]) == (True, "", 0)
    content = b"x" * size
    request = request_of(probe.proxy.post("/probe", headers=headers, content=content))
    assert (request["body_too_large"], request["body_size"]) == (False, size)


def test_without_the_tls_that_is_required_nothing_is_read(probe: Probe) -> None:
    headers = x_probe(require_https=True)
    request = request_of(probe.proxy.post("/probe", headers=headers, content=b"secret"))
    assert (request["https"], request["body"], request["body_size"]) == (False, "", 0)


# -- The node and its secrets ----------------------------------------------


def test_the_node_says_what_it_is(probe: Probe, postgres: Postgres) -> None:
    opening = probe.bridge.begin(max_body_size=1000, require_https=False)
    assert (opening.host.dialect, opening.host.database) == ("postgresql", "postgres")
    assert opening.host.kong_version == probe.admin.get("/").json()["version"]
    assert opening.host.node_id == probe.admin.get("/").json()["node_id"]
    with postgres.connect() as connection:
        assert connection.execute("SELECT id::text FROM workspaces").fetchall() == [
            (opening.host.workspace,)
        ]


def test_secrets_are_live_values_by_reference(probe: Probe) -> None:
    present, absent = "{vault://env/scim-test-secret}", "{vault://env/scim-test-absent}"
    opening = probe.bridge.begin(
        max_body_size=1000, require_https=False, secrets=[present, absent, "no reference"]
    )
    assert opening.secrets == {present: "s3cret", absent: None, "no reference": None}
