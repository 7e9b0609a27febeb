"""Where scim-bridge does not guard every route, SCIM says so, or answers nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from test_metrics import total

from hosts import Gateway, eventually
from scim_traffic import answered, get, new_user, refused

GAUGE = "kong_scim_guard_enabled"


@pytest.fixture
def unguarded(gateway: Gateway) -> Iterator[Gateway]:
    gateway.set_guard(False)
    yield gateway
    gateway.set_guard(True)
    eventually(lambda: gateway.any_scim.get("/Users").is_success, "the guard, on the first node")
    eventually(lambda: gateway.any_scim.get("/Users").is_success, "the guard, on the second node")


def on_every_node(gateway: Gateway, status: int) -> None:
    for _ in range(2):
        eventually(lambda: gateway.any_scim.get("/Users").status_code == status, f"{status}")


def test_without_the_guard_every_answer_is_503_until_it_is_back(unguarded: Gateway) -> None:
    gateway = unguarded
    on_every_node(gateway, 503)
    for answer in (
        gateway.scim.get("/Users"),
        gateway.scim.post("/Users", json={"userName": "alice"}),
        gateway.scim.get("/Schemas"),
        gateway.other_scim.get("/Groups"),
    ):
        assert "scim-bridge is not enabled for every route" in refused(answer, 503)
    assert gateway.scim.get("/Users", headers={"Authorization": "Bearer x"}).status_code == 401
    eventually(lambda: total(gateway, GAUGE, tenant="a") == 0, "the metric")
    eventually(lambda: "guard: The plugin scim-bridge" in gateway.host.log(), "the log")

    gateway.set_guard(True)

    on_every_node(gateway, 200)
    nodes = len(gateway.host.proxy_urls)
    eventually(lambda: total(gateway, GAUGE, tenant="a") == nodes, "the metric")
    eventually(lambda: "guard: all is well again" in gateway.host.log(), "the log")
    new_user(gateway.scim, "alice")


def test_one_on_a_single_route_is_not_enough(unguarded: Gateway) -> None:
    """There is one, on the route strict-ldap (declared.py)."""
    on_every_node(unguarded, 503)
    refused(unguarded.scim.get("/Users"), 503)


def test_where_the_guard_is_optional_every_answer_says_that_it_is_off(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(guard="optional")
    assert "Kong-SCIM-Guard" not in gateway.scim.get("/Users").headers
    gateway.set_guard(False)
    try:
        eventually(
            lambda: gateway.scim.get("/Users").headers.get("Kong-SCIM-Guard") == "off", "the header"
        )
        answered(gateway.scim.post("/Users", json={"userName": "alice"}), 201)
        get(gateway.scim, "/Users")
        eventually(lambda: "guard: The plugin scim-bridge" in gateway.host.log(), "the log")
    finally:
        gateway.set_guard(True)
    eventually(lambda: "Kong-SCIM-Guard" not in gateway.scim.get("/Users").headers, "the guard")
