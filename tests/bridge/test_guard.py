"""Who is suspended is refused, however it authenticates; the log says who it was."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from probe import Probe, eventually
from steps import new_id

from kong_process import requires_kong
from kong_scim.bridge import Upsert

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
