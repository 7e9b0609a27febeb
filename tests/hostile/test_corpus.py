"""Each entry of the corpus by itself, on every host: what once broke something stays found."""

from __future__ import annotations

import httpx
import pytest
from requests_of import BODIES, EXPRESSIONS

from any_input import well_answered
from hosts import Gateway
from scim_traffic import answered, new_group, new_user


@pytest.fixture
def scim(gateway: Gateway) -> httpx.Client:
    return gateway.scim


def test_expressions_are_answered_as_filters_and_as_paths(scim: httpx.Client) -> None:
    user = new_user(scim)["id"]
    for expression in EXPRESSIONS:
        text = expression.decode()
        well_answered(scim.get("/Users", params={"filter": text}))
        well_answered(scim.get("/Groups", params={"attributes": text, "sortBy": text}))
        operation = {"op": "add", "path": text, "value": "x"}
        well_answered(scim.patch(f"/Users/{user}", json={"Operations": [operation]}))
    answered(scim.get(f"/Users/{user}"), 200)


def test_bodies_are_answered_everywhere(scim: httpx.Client) -> None:
    user, group = new_user(scim)["id"], new_group(scim)["id"]
    kind = {"Content-Type": "application/scim+json"}
    for body in BODIES:
        for path in ("/Users", "/Groups", "/Bulk", "/.search"):
            well_answered(scim.post(path, content=body, headers=kind))
        for method in ("PUT", "PATCH"):
            for path in (f"/Users/{user}", f"/Groups/{group}"):
                well_answered(scim.request(method, path, content=body, headers=kind))
    answered(scim.get(f"/Users/{user}"), 200)
