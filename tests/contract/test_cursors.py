"""Cursors are sealed with a secret that is the tenant's own, at every node and after a restart."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
from scim2_models import InvalidCursorException
from scim2_server.cursor import Cursors

from hosts import Gateway
from outbox import run
from scim_traffic import answered, get, new_user, refused


def first(scim: httpx.Client) -> dict[str, Any]:
    for _ in range(2):
        new_user(scim)
    return get(scim, "/Users", cursor="", count="1")


def test_a_cursor_of_one_tenant_is_none_of_another(gateway: Gateway) -> None:
    first(gateway.other_scim)
    cursor = first(gateway.scim)["nextCursor"]
    query = {"cursor": cursor, "count": "1"}
    refused(gateway.other_scim.get("/Users", params=query), 400, "invalidCursor")
    answered(gateway.any_scim.get("/Users", params=query), 200)


def test_it_is_not_sealed_with_what_everybody_knows(gateway: Gateway) -> None:
    cursor = first(gateway.scim)["nextCursor"]
    known = Cursors(hashlib.sha256(b"kong-scim cursors of tenant a").digest())
    try:
        known.open(cursor, "", 1, None)
    except InvalidCursorException:
        return
    raise AssertionError("the secret is the tenant's name")


def test_it_counts_after_a_restart_of_the_plugin_server(gateway: Gateway) -> None:
    cursor = first(gateway.scim)["nextCursor"]
    gateway.kill_plugin_server()
    gateway.wait()
    answered(gateway.scim.get("/Users", params={"cursor": cursor, "count": "1"}), 200)
    run(gateway, "SELECT value FROM scim_secrets WHERE name = 'cursors'")
