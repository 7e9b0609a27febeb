"""Who is suspended is refused, however it authenticates; the log says who it was."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from probe import Probe, eventually
from steps import new_id

from kong_process import requires_kong
from kong_scim.bridge import Delete, Revoke, Upsert

pytestmark = requires_kong


def consumer_with(probe: Probe, *tags: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A consumer with a key and a password, in the group staff, and the headers for both."""
    consumer = probe.post("/consumers", username=new_id(), tags=list(tags))
    path = f"/consumers/{consumer['id']}"
    key = probe.post(f"{path}/key-auth", key=new_id())["key"]
    probe.post(f"{path}/basic-auth", username=key, password="p")
    probe.post(f"{path}/acls", group="staff")
    basic = b64encode(f"{key}:p".encode()).decode()
    return consumer, {"apikey": key, "Authorization": f"Basic {basic}"}


def suspend(probe: Probe, consumer: dict[str, Any]) -> None:
    tags = ["scim", "scim:default", "scim:suspended"]
    probe.bridge.commit([Upsert("consumers", {"id": consumer["id"], "tags": tags})])


@pytest.mark.parametrize("route", ["key-auth", "basic-auth", "anonymous", "acl"])
def test_a_suspended_consumer_is_refused(probe: Probe, route: str) -> None:
    consumer, headers = consumer_with(probe, "scim", "scim:default")
    client = probe.proxy
    eventually(
        lambda: client.get(f"/api/{route}", headers=headers).status_code == 200, "it is let in"
    )
    suspend(probe, consumer)
    for worker in probe.of_each_worker():
        answer = worker.get(f"/api/{route}", headers=headers)
        assert answer.status_code == 403
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.json() == {"message": "This account is suspended"}


def test_others_pass(probe: Probe) -> None:
    _, headers = consumer_with(probe, "scim:suspended-not", "suspended", "scim")
    eventually(
        lambda: probe.proxy.get("/api/key-auth", headers=headers).status_code == 200, "it is let in"
    )
    assert probe.proxy.get("/api/anonymous").status_code == 200


def part(content: dict[str, Any] | bytes) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")


def token(key: str, secret: str, **claims: Any) -> dict[str, str]:
    """The header of a JWT for Kong's jwt plugin."""
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'iss': key, **claims})}"
    mac = hmac.digest(secret.encode(), signed.encode(), hashlib.sha256)
    return {"Authorization": f"Bearer {signed}.{part(mac)}"}


def test_a_token_of_the_jwt_plugin_counts_from_its_claim_iat_on(probe: Probe) -> None:
    moment = int(time.time()) - 100
    tags = ["scim", "scim:default", f"scim-revoked-at:{moment}"]
    consumer = probe.post("/consumers", username=new_id(), tags=tags)
    secret = probe.post(f"/consumers/{consumer['id']}/jwt")
    of = (secret["key"], secret["secret"])
    url = "/api/jwt"
    eventually(
        lambda: probe.proxy.get(url, headers=token(*of)).status_code == 200, "a token without iat"
    )
    for iat, status in {
        moment - 1: 403,
        moment: 403,
        moment + 0.9: 403,
        moment + 1: 200,
        moment + 50: 200,
    }.items():
        assert probe.proxy.get(url, headers=token(*of, iat=iat)).status_code == status, iat


def test_a_credential_whose_consumer_is_no_more_is_refused(probe: Probe) -> None:
    answer = probe.proxy.get("/api/gone")
    assert (answer.status_code, answer.json()) == (403, {"message": "This account is no more"})


def given_on_behalf(probe: Probe, name: str) -> dict[str, str]:
    """The header of a token that an OAuth client was given on behalf of somebody."""
    app = probe.post("/consumers", username=new_id())
    credential = probe.post(
        f"/consumers/{app['id']}/oauth2", name="app", redirect_uris=["https://app.example/"]
    )
    given = probe.post(
        "/oauth2_tokens",
        credential={"id": credential["id"]},
        expires_in=3600,
        authenticated_userid=name,
    )
    return {"Authorization": f"Bearer {given['access_token']}"}


def test_a_token_on_behalf_of_a_suspended_person_is_refused(probe: Probe) -> None:
    alice = probe.post("/consumers", username=new_id(), tags=["scim"])
    headers = given_on_behalf(probe, alice["username"].upper())
    assert probe.proxy.get("/api/oauth2", headers=headers).status_code == 200
    suspend(probe, alice)
    assert probe.proxy.get("/api/oauth2", headers=headers).status_code == 403


@pytest.mark.parametrize("step", ["revoke", "revoke issued", "delete"])
def test_a_token_on_behalf_of_somebody_ends_with_the_persons_access(
    probe: Probe, step: str
) -> None:
    alice = probe.post("/consumers", username=new_id(), custom_id=new_id(), tags=["scim"])
    all_headers = [given_on_behalf(probe, alice[name]) for name in ("username", "custom_id")]
    bobs = given_on_behalf(probe, new_id())
    steps = {
        "revoke": Revoke(alice["id"]),
        "revoke issued": Revoke(alice["id"], issued=True),
        "delete": Delete("consumers", alice["id"]),
    }
    probe.bridge.commit([steps[step]])
    for headers in all_headers:
        assert probe.proxy.get("/api/oauth2", headers=headers).status_code == 401
    assert probe.proxy.get("/api/oauth2", headers=bobs).status_code == 200


def test_what_was_issued_to_a_credential_can_be_revoked_without_it(probe: Probe) -> None:
    app = probe.post("/consumers", username=new_id(), tags=["scim"])
    path = f"/consumers/{app['id']}/oauth2"
    credential = probe.post(path, name="app", redirect_uris=["https://app.example/"])
    given = probe.post("/oauth2_tokens", credential={"id": credential["id"]}, expires_in=3600)
    headers = {"Authorization": f"Bearer {given['access_token']}"}
    assert probe.proxy.get("/api/oauth2", headers=headers).status_code == 200
    key = probe.post(f"/consumers/{app['id']}/key-auth", key=new_id())["key"]

    (result,) = probe.bridge.commit([Revoke(app["id"], issued=True)])

    assert result.entities == {"oauth2_tokens": 1}
    assert probe.proxy.get("/api/oauth2", headers=headers).status_code == 401
    assert probe.get(f"{path}/{credential['id']}")
    assert probe.proxy.get("/api/key-auth", headers={"apikey": key}).status_code == 200


def logged(access_log: Path, path: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in access_log.read_text(errors="replace").splitlines()]
    return [record for record in records if record["request"]["uri"] == path]


def test_every_log_plugin_learns_user_tenant_and_groups(probe: Probe, access_log: Path) -> None:
    consumer, headers = consumer_with(probe, "scim", "scim:acme", "scim-user:u-1")
    path = f"/api/key-auth/{new_id()}"
    eventually(lambda: probe.proxy.get(path, headers=headers).status_code == 200, "it is let in")
    suspend(probe, consumer)
    assert probe.proxy.get(path, headers=headers).status_code == 403
    eventually(lambda: len(logged(access_log, path)) >= 2, "both are logged")
    first, last = logged(access_log, path)[-2:]
    assert first["scim"] == {"user_id": "u-1", "tenant": "acme", "groups": ["staff"]}
    assert last["scim"] == {"tenant": "default", "groups": ["staff"]}
    assert last["response"]["status"] == 403


def test_the_log_says_the_groups_and_tags_of_now(probe: Probe, access_log: Path) -> None:
    consumer, headers = consumer_with(probe, "scim", "scim-user:u-1")
    path = f"/api/key-auth/{new_id()}"

    def last() -> dict[str, Any]:
        assert probe.proxy.get(path, headers=headers).status_code in {200, 401}
        return (logged(access_log, path) or [{}])[-1].get("scim", {})

    eventually(lambda: last() == {"user_id": "u-1", "groups": ["staff"]}, "it is logged")
    probe.post(f"/consumers/{consumer['id']}/acls", group="admins")
    eventually(lambda: set(last()["groups"]) == {"admins", "staff"}, "the new group is logged")
    tags = {"id": consumer["id"], "tags": ["scim", "scim-user:u-2"]}
    probe.bridge.commit([Upsert("consumers", tags)])
    eventually(lambda: last()["user_id"] == "u-2", "the new tag is logged")


def test_a_consumer_without_groups_is_logged_with_an_empty_list(
    probe: Probe, access_log: Path
) -> None:
    consumer = probe.post("/consumers", username=new_id(), tags=["scim"])
    key = probe.post(f"/consumers/{consumer['id']}/key-auth", key=new_id())["key"]
    path = f"/api/key-auth/{new_id()}"
    headers = {"apikey": key}
    eventually(lambda: probe.proxy.get(path, headers=headers).status_code == 200, "it is let in")
    eventually(lambda: bool(logged(access_log, path)), "it is logged")
    assert logged(access_log, path)[-1]["scim"] == {"groups": []}


def test_a_consumer_that_scim_does_not_manage_is_logged_as_ever(
    probe: Probe, access_log: Path
) -> None:
    _, headers = consumer_with(probe, "team:a")
    path = f"/api/key-auth/{new_id()}"
    eventually(lambda: probe.proxy.get(path, headers=headers).status_code == 200, "it is let in")
    eventually(lambda: bool(logged(access_log, path)), "it is logged")
    assert "scim" not in logged(access_log, path)[-1]
