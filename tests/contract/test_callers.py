"""Who may call, on every host: consumers that Kong authenticated, TLS, and wrong credentials."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from hosts import Gateway, scim_client
from scim_traffic import answered, refused, user_body
from variants import variant

pytestmark = pytest.mark.long

SCOPES = {"provisioners": ["scim:users"], "readers": ["scim:read"]}


@pytest.fixture(scope="module")
def keyed(shared_gateway: Gateway) -> Iterator[Gateway]:
    """The SCIM endpoint behind key-auth, which alone says who calls."""
    front = [{"name": "key-auth", "config": {"key_names": ["apikey"]}}]
    with variant(
        shared_gateway, in_front=front, auth="kong", group_scopes=SCOPES, tokens=[]
    ) as other:
        yield other


def client_of(gateway: Gateway, *groups: str) -> httpx.Client:
    """Return a client with the key of a new consumer in these ACL groups."""
    name, key = f"caller-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    acls = [{"group": group} for group in groups]
    if gateway.host.dbless:
        consumer = {"id": str(uuid.uuid4()), "username": name, "acls": acls}
        consumer["keyauth_credentials"] = [{"key": key}]
        gateway.content.setdefault("consumers", []).append(consumer)
        gateway.declare()
    else:
        made = gateway.new_consumer(username=name)
        for acl in acls:
            gateway.admin.post(f"/consumers/{name}/acls", json=acl).raise_for_status()
        gateway.give_key(made["id"], key)
    return httpx.Client(
        base_url=gateway.scim_base, verify=False, headers={"apikey": key}, trust_env=False
    )


def test_a_consumer_of_kong_may_do_what_its_acl_groups_say(keyed: Gateway) -> None:
    scim = client_of(keyed, "provisioners", "people")
    user = answered(scim.post("/Users", json=user_body()), 201)  # deleted below: nobody else can
    assert "scim:groups" in refused(scim.post("/Groups", json={"displayName": "g"}), 403)
    reader = client_of(keyed, "readers")
    answered(reader.get(f"/Users/{user['id']}"), 200)
    assert "scim:users" in refused(reader.delete(f"/Users/{user['id']}"), 403)
    assert scim.delete(f"/Users/{user['id']}").status_code == 204


@pytest.mark.parametrize("groups", [(), ("people",)])
def test_a_consumer_in_no_group_for_it_may_do_nothing(
    keyed: Gateway, groups: tuple[str, ...]
) -> None:
    refused(client_of(keyed, *groups).get("/Users"), 403)


def test_without_a_key_kong_itself_refuses(keyed: Gateway) -> None:
    """Also the bearer token of the endpoint counts for nothing then."""
    answer = keyed.scim.get("/Users")
    assert answer.status_code == 401
    assert "No API key found" in answer.text


FORMS = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
"""The types that a page in a browser may have sent anywhere, without anybody being asked."""


@pytest.mark.parametrize("content_type", [*FORMS, "text/plain; application/json", "", None])
def test_where_kong_authenticates_no_page_in_a_browser_can_write(
    keyed: Gateway, content_type: str | None
) -> None:
    scim, before = client_of(keyed, "provisioners"), keyed.consumers()
    body = json.dumps(user_body()).encode()
    headers = {} if content_type is None else {"Content-Type": content_type}
    for path in ("/Users", "/Bulk", "/Events/poll"):
        answer = scim.post(path, content=body, headers=headers)
        assert "application/scim+json" in refused(answer, 415)
    assert keyed.consumers() == before


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/scim+json; charset=utf-8"]
)
def test_where_kong_authenticates_json_is_taken(keyed: Gateway, content_type: str) -> None:
    scim = client_of(keyed, "provisioners")
    body = json.dumps(user_body()).encode()
    user = answered(scim.post("/Users", content=body, headers={"Content-Type": content_type}), 201)
    assert scim.delete(f"/Users/{user['id']}").status_code == 204  # no browser sends it unasked


def test_a_forwarded_scheme_counts_for_nothing_from_who_is_not_trusted(gateway: Gateway) -> None:
    """That a trusted proxy's does is in ``tests/bridge/test_begin.py``, on a Kong that has one."""
    claims = {"X-Forwarded-Proto": "https", "Forwarded": "proto=https", "X-Forwarded-Ssl": "on"}
    with variant(gateway, require_https=True) as strict:
        before = strict.consumers()
        refusal = refused(strict.scim.post("/Users", json=user_body(), headers=claims), 403)
        assert "https" in refusal
        assert strict.consumers() == before


# -- Refused, and nothing is written ---------------------------------------

ISSUER, AUDIENCE = "https://idp.example/oauth2/default", "https://gw.example/scim/v2"
KEY = RSAKey.generate_key(2048, {"kid": "k1"}, private=True)
OTHER = RSAKey.generate_key(2048, {"kid": "k1"}, private=True)


def signed(key: RSAKey = KEY, **claims: Any) -> str:
    now = int(time.time())
    usual = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 300, "sub": "idp"}
    header = {"alg": "RS256", "kid": "k1"}
    return jwt.encode(header, {**usual, "scope": "scim:users", **claims}, key)


def unsigned() -> str:
    """The right claims, whose signature the header says is none."""
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    return f"{header}.{signed().split('.')[1]}."


def changed(token: str) -> str:
    """Return a token with another byte in its middle."""
    middle = len(token) // 2
    return token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]


@pytest.fixture(scope="module")
def choosy(shared_gateway: Gateway) -> Iterator[Gateway]:
    """The SCIM endpoint with tokens that count for little, and JWTs of one issuer."""
    tokens: list[dict[str, Any]] = [
        {"name": "idp", "value": "{vault://env/scim-token-a}"},
        {"name": "reader", "value": "may-only-read", "scopes": ["scim:read", "scim:groups"]},
        {"name": "late", "value": "was-good-once", "expires": "2025-12-31T23:59:59Z"},
        {"name": "away", "value": "from-elsewhere", "networks": ["203.0.113.0/24"]},
    ]
    keys = {
        "issuer": ISSUER,
        "audience": [AUDIENCE],
        "public_key": KEY.as_pem(private=False).decode(),
    }
    with variant(shared_gateway, tokens=tokens, jwt=keys) as other:
        yield other


REFUSED: dict[str, tuple[Callable[[], str], int, str]] = {
    "without the scope": (lambda: "may-only-read", 403, 'error="insufficient_scope"'),
    "expired": (lambda: "was-good-once", 401, 'error_description="The token expired"'),
    "from the wrong network": (lambda: "from-elsewhere", 403, ""),
    "with one changed byte": (lambda: changed("token-of-tenant-a"), 401, "invalid_token"),
    "of another tenant": (lambda: "token-of-tenant-b", 401, "invalid_token"),
    "a JWT with none": (unsigned, 401, "invalid_token"),
    "a JWT of a wrong issuer": (lambda: signed(iss="https://evil.example"), 401, "invalid_token"),
    "a JWT for another audience": (lambda: signed(aud="https://x.example"), 401, "invalid_token"),
    "a JWT with a wrong key": (lambda: signed(OTHER), 401, "invalid_token"),
    "an expired JWT": (lambda: signed(exp=1), 401, 'error_description="The token expired"'),
    "a JWT with one changed byte": (lambda: changed(signed()), 401, "invalid_token"),
    "a JWT without the scope": (lambda: signed(scope="scim:read"), 403, "insufficient_scope"),
    "a JWT without any scope": (lambda: signed(scope="openid"), 403, ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_token_that_does_not_count_is_refused_and_writes_nothing(
    choosy: Gateway, name: str
) -> None:
    token, status, challenge = REFUSED[name]
    before = choosy.consumers()
    with scim_client(choosy.scim_base, token()) as scim:
        answer = scim.post("/Users", json=user_body())
    refused(answer, status)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert challenge in answer.headers["WWW-Authenticate"]
    assert choosy.consumers() == before
    assert choosy.scim.get("/Users").json()["totalResults"] == 0


def test_wrong_credentials_end_in_429_for_their_address_and_right_ones_never(
    gateway: Gateway,
) -> None:
    """The workers of a node share the count: each connection may reach another one.

    A token that was never used is as one after a start of the plugin server, or after a rotation.
    """
    tokens = [
        {"name": "idp", "value": "{vault://env/scim-token-a}"},
        {"name": "rotated", "value": "never-used-until-now"},
    ]
    key = KEY.as_pem(private=False).decode()
    issuer = {"issuer": ISSUER, "audience": [AUDIENCE], "public_key": key}
    with variant(gateway, tokens=tokens, jwt=issuer, limits={"failed_attempts": 6}) as guarded:

        def sent(token: str) -> httpx.Response:
            with scim_client(guarded.scim_base, token) as guessing:
                return guessing.get("/Users")

        answers = [sent(f"guess-{number}") for number in range(12)]
        assert [each.status_code for each in answers] == [401] * 6 + [429] * 6
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
        refused(answers[-1], 429)
        refused(sent(signed(OTHER)), 429)
        for right in ("never-used-until-now", signed(), guarded.token):
            answered(sent(right), 200)
        answered(guarded.other_scim.get("/Users"), 200)


def test_beside_them_the_right_token_and_a_right_jwt_are_served(choosy: Gateway) -> None:
    for token in ("token-of-tenant-a", signed()):
        with scim_client(choosy.scim_base, token) as scim:
            user = answered(scim.post("/Users", json=user_body()), 201)
            assert scim.delete(f"/Users/{user['id']}").status_code == 204
