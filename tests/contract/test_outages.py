"""What a client sees while a part is away, and that all is well when it is back."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agreement import disagreements
from hosts import GROUP, Gateway, eventually
from kong_process import requires_kong
from scim_traffic import BULK, get, new_group, new_user, refused, user_body

pytestmark = pytest.mark.long


def test_a_killed_plugin_server_is_replaced_and_serves_every_tenant_its_own(
    gateway: Gateway,
) -> None:
    new_user(gateway.scim, "alice")
    new_user(gateway.other_scim, "bob")

    for _ in range(2):
        gateway.kill_plugin_server()
        gateway.wait()

        (alice,) = get(gateway.scim, "/Users")["Resources"]
        (bob,) = get(gateway.other_scim, "/Users")["Resources"]
        assert (alice["userName"], bob["userName"]) == ("alice", "bob")
        refused(gateway.scim.get("/Users", headers={"Authorization": "Bearer wrong"}), 401)


def test_a_request_whose_plugin_server_dies_is_503_and_what_was_done_stays_whole(
    gateway: Gateway,
) -> None:
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": str(each), "data": user_body(f"user-{each}")}
        for each in range(500)
    ]
    with ThreadPoolExecutor(1) as pool:
        bulk = {"schemas": [BULK], "Operations": operations}
        answer = pool.submit(gateway.scim.post, "/Bulk", json=bulk)
        eventually(lambda: len(gateway.consumers()) > 3, "the first users of a bulk request")
        gateway.kill_plugin_server()

        detail = refused(answer.result(), 503)

    assert "plugin server" in detail
    assert int(answer.result().headers["retry-after"]) > 0
    gateway.wait()
    assert 3 < get(gateway.scim, "/Users")["totalResults"] < len(operations)
    assert disagreements(gateway) == []


def test_while_the_plugin_server_is_away_no_answer_is_anything_but_503(gateway: Gateway) -> None:
    gateway.host.plugin_server().kill()
    answers = [gateway.scim.post("/Users", json=user_body(f"user-{each}")) for each in range(4)]
    gateway.kill_plugin_server()  # on Kong nobody else starts a new one
    gateway.wait()

    # The sandbox starts another one by itself, and lets requests wait for it.
    wanted = {201, 503} if gateway.name.startswith("sandbox") else {503}
    assert {answer.status_code for answer in answers} <= wanted
    for answer in answers:
        assert answer.headers["content-type"].startswith("application/scim+json")
    made = [answer for answer in answers if answer.status_code == 201]
    assert get(gateway.scim, "/Users")["totalResults"] == len(made)


def test_apis_are_served_while_the_plugin_server_is_away(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    new_group(gateway.scim, user["id"], name=GROUP)
    key = gateway.give_key("alice")
    gateway.host.plugin_server().kill()

    assert gateway.call(key).status_code == 200

    gateway.kill_plugin_server()
    gateway.wait()


def test_while_the_database_is_away_each_request_is_503_and_then_all_is_well(
    gateway: Gateway,
) -> None:
    host = gateway.host
    if host.postgres is None:
        pytest.skip("this host has no database that could be away alone")
    user = new_user(gateway.scim, "alice")
    host.postgres.stop("immediate")
    try:
        for method, path in (("GET", "/Users"), ("POST", "/Users"), ("DELETE", "/Users/x")):
            answer = gateway.scim.request(method, path, json=user_body("bob"))
            assert "database" in refused(answer, 503)
            assert answer.headers["retry-after"]
    finally:
        host.postgres.start()
    gateway.wait()
    eventually(lambda: gateway.scim.get("/Users").status_code == 200, "the database")

    assert [each["id"] for each in get(gateway.scim, "/Users")["Resources"]] == [user["id"]]
    new_user(gateway.scim, "bob")
    assert disagreements(gateway) == []


@pytest.mark.parametrize(  # the sandbox starts another plugin server at once
    "host_name",
    [pytest.param(name, marks=requires_kong) for name in ("kong-postgres", "kong-dbless")],
    indirect=True,
)
def test_a_plugin_server_that_is_away_is_one_line_of_the_tick_and_one_when_it_is_back(
    fresh_gateway: Gateway,
) -> None:
    host: Any = fresh_gateway.host
    host.plugin_server().kill()
    eventually(lambda: "does not listen" in host.kong.log(), "the line that says so")
    time.sleep(3)  # as long as Kong would have said it six times
    host.kill_plugin_server()
    eventually(lambda: "is back" in host.kong.log(), "the line that says that it is back")

    _, _, rest = host.kong.log().partition("does not listen")
    away, _, _ = rest.partition("is back")
    found = [line for line in away.splitlines() if re.search(r"\[(warn|error|crit)\]", line)]
    assert found == []


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
