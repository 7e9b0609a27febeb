"""What drift finds and mends, on every host."""

from __future__ import annotations

import httpx

from hosts import Gateway
from scim_traffic import new_group, new_user, patched_user


def drift(scim: httpx.Client, **query: str | int) -> list[dict]:
    found = []
    while True:
        answer = scim.get("/Drift", params=query)
        assert answer.status_code == 200, answer.text
        found += answer.json()["differences"]
        if answer.json()["next"] is None:
            assert answer.json()["total"] == len(found)
            return found
        query["cursor"] = answer.json()["next"]


def test_nothing_is_found_where_nobody_changed_anything(gateway: Gateway) -> None:
    ann, bob = new_user(gateway.scim, "ann"), new_user(gateway.scim, "bob")
    new_group(gateway.scim, ann["id"], name="employees")
    patched_user(gateway.scim, bob["id"], {"op": "replace", "value": {"active": False}})
    assert drift(gateway.scim) == []
