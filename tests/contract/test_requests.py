"""What reaches the plugin of a request, whatever gateway it came through, and what comes back."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from hosts import TOKENS, Gateway
from scim_traffic import (
    CORE_GROUP,
    answered,
    get,
    new_group,
    new_user,
    patch,
    refused,
    user_body,
)
from variants import variant

LIMIT = 1024 * 1024
"""Of a body, in bytes, where the configuration says nothing."""


def raw(gateway: Gateway, *head: str, body: bytes = b"") -> tuple[int, str]:
    """Send octets as they are, and return the status and the rest of the answer."""
    url = urlsplit(gateway.scim_base)
    fields = [*head, f"Host: {url.netloc}", f"Authorization: Bearer {gateway.token}"]
    fields.append("Connection: close")
    assert url.hostname is not None
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*fields, "", ""]).encode("latin-1") + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    status, _, rest = answer.partition("\r\n")
    return int(status.split()[1]), rest


# -- bodies ----------------------------------------------------------------


@pytest.mark.parametrize("size", [8191, 8192, 8193, 16_385, 200_000, LIMIT - 1, LIMIT])
def test_a_body_of_any_size_up_to_the_limit_arrives_whole(gateway: Gateway, size: int) -> None:
    # More than client_body_buffer_size (8 KiB) is in a file of Nginx's, and not in memory.
    _arrives_whole(gateway, size)


def test_a_body_of_several_pieces_arrives_whole(gateway_with: Callable[..., Gateway]) -> None:
    _arrives_whole(gateway_with(max_body_size=4 * LIMIT), 2 * LIMIT + 7)


def _arrives_whole(gateway: Gateway, size: int) -> None:
    body = httpx.Request("POST", "http://x", json=user_body("alice", title="")).content
    padding = "é" * ((size - len(body)) // 2) + "x" * ((size - len(body)) % 2)
    content = body.replace(b'"title":""', f'"title":"{padding}"'.encode())
    assert len(content) == size

    headers = {"Content-Type": "application/scim+json"}
    user = answered(gateway.scim.post("/Users", content=content, headers=headers), 201)

    assert get(gateway.scim, f"/Users/{user['id']}")["title"] == padding


def test_one_byte_over_the_limit_is_413_and_written_nowhere(gateway: Gateway) -> None:
    body = b'{"userName": "alice"}'
    for size in (LIMIT + 1, 4 * LIMIT):
        content = body.ljust(size)
        headers = {"Content-Type": "application/scim+json"}
        assert str(LIMIT) in refused(
            gateway.scim.post("/Users", content=content, headers=headers), 413
        )
    assert gateway.consumers() == []


def test_a_large_body_with_a_wrong_token_is_401_and_a_right_one_goes_on(gateway: Gateway) -> None:
    wrong = {"Authorization": "Bearer wrong", "Content-Type": "application/scim+json"}
    for _ in range(3):
        answer = gateway.scim.post("/Users", content=b"x" * LIMIT, headers=wrong)
        refused(answer, 401)
        new_user(gateway.scim)


def test_a_body_in_chunks_arrives_whole(gateway: Gateway) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"schemas": [], "userName": "alice", "title": "'
        for _ in range(20):
            yield b"x" * 1000
        yield b'"}'

    headers = {"Content-Type": "application/scim+json"}
    user = answered(gateway.scim.post("/Users", content=chunks(), headers=headers), 201)

    assert len(get(gateway.scim, f"/Users/{user['id']}")["title"]) == 20_000


def test_a_client_that_waits_for_a_100_is_told_to_go_on(gateway: Gateway) -> None:
    body = b'{"userName": "alice"}'
    path = urlsplit(gateway.scim_base).path
    status, rest = raw(
        gateway,
        f"POST {path}/Users HTTP/1.1",
        "Expect: 100-continue",
        "Content-Type: application/scim+json",
        f"Content-Length: {len(body)}",
        body=body,
    )
    assert status == 100
    assert "201 Created" in rest


# -- paths and queries -----------------------------------------------------


@pytest.mark.parametrize("blank", ["%20", "+"])
def test_a_blank_in_a_query_is_written_in_either_way(gateway: Gateway, blank: str) -> None:
    user = new_user(gateway.scim, "alice smith+x")
    text = 'userName eq "alice smith'.replace(" ", blank) + "%2Bx%22"

    answer = gateway.scim.get(f"/Users?filter={text.replace(chr(34), '%22')}")

    assert [each["id"] for each in answered(answer, 200)["Resources"]] == [user["id"]]


@pytest.mark.parametrize(
    "write",
    [
        lambda user_id: f"/Users/{user_id}",
        lambda user_id: f"/Users/%{ord(user_id[0]):x}{user_id[1:]}",
        lambda user_id: f"/%55sers/{user_id}",
        lambda user_id: f"/Users/{user_id}?",
        lambda user_id: f"/Users/{user_id}/",
    ],
)
def test_one_path_may_be_written_in_several_ways(
    gateway: Gateway, write: Callable[[str], str]
) -> None:
    user_id = new_user(gateway.scim, "alice")["id"]
    path = urlsplit(gateway.scim_base).path + write(user_id)

    status, rest = raw(gateway, f"GET {path} HTTP/1.1")

    assert status == 200, rest
    assert f'"id":"{user_id}"' in rest


@pytest.mark.parametrize(
    "path",
    [
        *("/Users%2F{}", "/Users/%2F{}", "/Users/{}%2F..", "/Users/{}%20", "/Users/{}%09"),
        *("/Users//{}", "/Groups/../Users/./{}"),  # taken as they are: no provider writes them
    ],
)
def test_another_path_is_another_resource(gateway: Gateway, path: str) -> None:
    user_id = new_user(gateway.scim, "alice")["id"]
    prefix = urlsplit(gateway.scim_base).path

    status, rest = raw(gateway, f"DELETE {prefix}{path.format(user_id)} HTTP/1.1")

    assert status in {404, 405}, rest
    assert "urn:ietf:params:scim:api:messages:2.0:Error" in rest
    assert gateway.scim.get(f"/Users/{user_id}").status_code == 200


# -- answers ---------------------------------------------------------------


def test_a_new_resource_says_where_it_is_and_is_there(gateway: Gateway) -> None:
    answer = gateway.scim.post("/Users", json=user_body("alice"))

    location = answered(answer, 201)["meta"]["location"]
    assert location == answer.headers["location"]
    assert location == f"{gateway.scim_base}/Users/{answer.json()['id']}"
    headers = {"Authorization": f"Bearer {gateway.token}"}
    again = httpx.get(location, verify=False, headers=headers, trust_env=False)
    assert answered(again, 200) == answer.json()
    assert again.headers["etag"] == answer.headers["etag"]


def test_what_has_no_body_has_none(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    head = gateway.scim.head(f"/Users/{user['id']}")
    assert (head.status_code, head.content) == (200, b"")
    fresh = gateway.scim.get(
        f"/Users/{user['id']}", headers={"If-None-Match": head.headers["etag"]}
    )
    assert (fresh.status_code, fresh.content) == (304, b"")
    gone = gateway.scim.delete(f"/Users/{user['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert "content-type" not in gone.headers


def test_answers_are_for_the_client_alone(gateway: Gateway) -> None:
    new_user(gateway.scim, "alice")
    for path in ("/Users", "/Nothing"):
        assert "private" in gateway.scim.get(path).headers["cache-control"]


def test_plain_http_is_refused_where_tls_is_asked_for(gateway: Gateway) -> None:
    with variant(gateway, require_https=True) as strict:  # which cannot be cleared through HTTP
        pretending = {"X-Forwarded-Proto": "https"}
        for headers in ({}, pretending, {"Authorization": "Bearer wrong"}):
            assert "https" in refused(strict.scim.get("/Users", headers=headers), 403)


def test_the_public_url_may_be_configured(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(base_url="https://gw.example.com/people")
    user = new_user(gateway.scim, "alice")
    location = f"https://gw.example.com/people/Users/{user['id']}"
    assert user["meta"]["location"] == location
    group = new_group(gateway.scim, user["id"])
    assert group["members"][0]["$ref"] == location


# -- two identity providers ------------------------------------------------


def test_a_token_opens_its_own_endpoint_only(gateway: Gateway) -> None:
    theirs = {"Authorization": f"Bearer {TOKENS['scim-token-b']}"}
    refused(gateway.scim.get("/Users", headers=theirs), 401)
    ours = {"Authorization": f"Bearer {gateway.token}"}
    refused(gateway.other_scim.post("/Users", json=user_body("x"), headers=ours), 401)
    assert gateway.consumers() == []


def test_nobody_of_another_tenant_becomes_a_member(gateway: Gateway) -> None:
    stranger = new_user(gateway.other_scim, "stranger")["id"]
    mine = new_user(gateway.scim, "alice")["id"]
    group = new_group(gateway.scim, mine, name="staff")["id"]
    value = [{"value": stranger}]

    body = {"schemas": [CORE_GROUP], "displayName": "more", "members": value}
    refused(gateway.scim.post("/Groups", json=body), 400, "invalidValue")
    operation = {"op": "add", "path": "members", "value": value}
    refused(patch(gateway.scim, f"/Groups/{group}", operation), 400, "invalidValue")
    refused(
        gateway.scim.put(f"/Groups/{group}", json={**body, "displayName": "staff"}),
        400,
        "invalidValue",
    )

    assert gateway.groups_of(stranger) == set()
    assert gateway.groups_of(mine) == {"staff"}


def test_no_search_and_no_bulk_request_reaches_another_tenant(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice", title="Engineer")
    new_group(gateway.scim, user["id"], name="staff")
    for text in (f'id eq "{user["id"]}"', 'userName eq "alice"', "userName pr", 'title co "E"'):
        assert get(gateway.other_scim, "/Users", filter=text)["totalResults"] == 0
    assert get(gateway.other_scim, "/Groups", filter="members pr")["totalResults"] == 0
    operation = {"method": "DELETE", "path": f"/Users/{user['id']}"}
    body = {"schemas": [], "Operations": [operation]}
    (done,) = answered(gateway.other_scim.post("/Bulk", json=body), 200)["Operations"]
    assert done["status"] == "404"
    assert gateway.consumer("alice") is not None


def test_a_cursor_of_one_tenant_is_worth_nothing_at_another(gateway: Gateway) -> None:
    for number in range(3):
        new_user(gateway.scim, f"user-{number}")
    page = answered(gateway.scim.get("/Users", params={"cursor": "", "count": "1"}), 200)

    stolen = {"cursor": page["nextCursor"], "count": "1"}

    assert 400 <= gateway.other_scim.get("/Users", params=stolen).status_code < 500


def test_with_a_database_credentials_are_given_by_kongs_own_admin_api(gateway: Gateway) -> None:
    if gateway.host.dbless:
        pytest.skip("tests/contract/test_dbless.py")
    new_user(gateway.scim, "alice")

    answer = gateway.admin.post("/scim-bridge/consumers/alice/key-auth", json={})

    assert answer.status_code == 405
    assert "/consumers/" in answer.json()["message"]
