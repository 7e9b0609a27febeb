"""A group of many members is created, renamed, emptied and deleted, each as one change."""

from __future__ import annotations

from hosts import Gateway
from scim_traffic import BULK, answered, new_group, patch, unique, user_body

MEMBERS = 250
"""The steps of such a change are longer than one message to Kong."""


def test_every_member_has_the_group_under_its_present_name(gateway: Gateway) -> None:
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": f"u{number}", "data": user_body()}
        for number in range(MEMBERS)
    ]
    users = []
    for start in range(0, MEMBERS, 100):
        body = {"schemas": [BULK], "Operations": operations[start : start + 100]}
        done = answered(gateway.scim.post("/Bulk", json=body), 200)["Operations"]
        users += [each["location"].rpartition("/")[2] for each in done]
    ends = (users[0], users[-1])

    first, second = unique("many"), unique("more")
    group = new_group(gateway.scim, *users, name=first)
    assert [gateway.groups_of(each) for each in ends] == [{first}] * 2

    path, rename = f"/Groups/{group['id']}", {"op": "replace", "path": "displayName"}
    patch(gateway.scim, path, {**rename, "value": second}).raise_for_status()
    assert [gateway.groups_of(each) for each in ends] == [{second}] * 2

    gateway.scim.delete(path).raise_for_status()
    assert [gateway.groups_of(each) for each in ends] == [set()] * 2
