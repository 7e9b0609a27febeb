"""What a client sees while a part is away, and that all is well when it is back."""

from __future__ import annotations

from typing import Any

import psutil

from hosts import Gateway, eventually
from scim_traffic import get, new_user, refused, user_body


def plugin_server(gateway: Gateway) -> psutil.Process:
    """Return the plugin server of a gateway."""
    if gateway.name == "sandbox":
        return psutil.Process(gateway.admin.get("/status").json()["plugin_server"]["pid"])
    host: Any = gateway.host
    return psutil.Process(host._plugin_server.pid)


def test_a_killed_plugin_server_is_replaced_and_serves_every_tenant_its_own(
    fresh_gateway: Gateway,
) -> None:
    gateway = fresh_gateway
    new_user(gateway.scim, "alice")
    new_user(gateway.other_scim, "bob")

    for _ in range(2):
        gateway.kill_plugin_server()
        gateway.wait()

        (alice,) = get(gateway.scim, "/Users")["Resources"]
        (bob,) = get(gateway.other_scim, "/Users")["Resources"]
        assert (alice["userName"], bob["userName"]) == ("alice", "bob")
        refused(gateway.scim.get("/Users", headers={"Authorization": "Bearer wrong"}), 401)


def test_no_request_goes_on_to_an_upstream_while_the_plugin_server_is_away(
    fresh_gateway: Gateway,
) -> None:
    gateway = fresh_gateway
    plugin_server(gateway).kill()
    answer = gateway.scim.post("/Users", json=user_body("alice"))
    gateway.kill_plugin_server()  # on Kong nobody else starts a new one
    gateway.wait()

    assert answer.status_code in {201, 503}
    if answer.status_code == 503:
        assert answer.headers["content-type"].startswith("application/scim+json")
        assert get(gateway.scim, "/Users")["totalResults"] == 0


def test_a_stop_in_the_middle_of_everything_loses_nothing_that_was_answered(
    fresh_gateway: Gateway,
) -> None:
    gateway = fresh_gateway
    made = {new_user(gateway.scim, f"user-{number}")["id"] for number in range(20)}

    gateway.kill_gateway()
    gateway.wait()
    gateway.restart()

    eventually(
        lambda: {each["id"] for each in get(gateway.scim, "/Users")["Resources"]} == made,
        "every user that was answered 201",
    )
