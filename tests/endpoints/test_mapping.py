"""What another mapping would make of each group, before anybody configures it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from endpoint_support import answered, refused

from hosts import Gateway
from scim_traffic import new_group


def preview(gateway: Gateway, **body: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next": None}
    while not found or page["next"]:
        page = answered(gateway.scim.post("/Mapping", json={**body, "cursor": page["next"]}))
        found += page["groups"]
    return found


def test_each_group_is_shown_with_its_name_now_and_then(gateway: Gateway) -> None:
    for name in ("kong-admins", "kong-staff", "other"):
        new_group(gateway.scim, name=name)

    found = preview(gateway, groups={"pattern": "kong-(.*)", "unmatched": "refuse"}, count=2)

    assert [(each["displayName"], each["now"], each["then"]) for each in found] == [
        ("kong-admins", "kong-admins", "admins"),
        ("kong-staff", "kong-staff", "staff"),
        ("other", "other", None),
    ]
    assert found[0]["error"] is None
    assert "`groups.unmatched` is refuse" in found[2]["error"]
    assert gateway.scim.get(f"/Groups/{found[0]['id']}").json()["displayName"] == "kong-admins"


def test_a_field_that_is_not_given_is_as_configured_and_null_is_its_default(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(groups={"map": {"Staff": "employees"}, "prefix": "okta-"})
    for name in ("Staff", "Other"):
        new_group(gateway.scim, name=name)

    assert [each["then"] for each in preview(gateway, groups={"prefix": "x-"})] == [
        "employees",
        "x-Other",
    ]
    assert [each["then"] for each in preview(gateway, groups={"map": None})] == [
        "okta-Staff",
        "okta-Other",
    ]


def test_a_name_that_kong_cannot_have_is_said_and_the_others_are_shown(gateway: Gateway) -> None:
    for name in ("a-b", "c"):
        new_group(gateway.scim, name=name)

    first, second = preview(gateway, groups={"pattern": "(.)-(.)", "replacement": r"\1,\2"})

    assert first["then"] is None
    assert "comma" in first["error"]
    assert (second["then"], second["error"]) == ("c", None)


def test_an_expression_that_would_take_for_ever_is_refused(gateway: Gateway) -> None:
    new_group(gateway.scim, name="a" * 60 + "!")

    answer = gateway.scim.post("/Mapping", json={"groups": {"pattern": "(a+)+"}})

    assert "takes too long" in refused(answer, 400)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "groups is an object"),
        ({"groups": []}, "groups is an object"),
        ({"groups": {"patern": "x"}}, "pattern"),
        ({"groups": {"pattern": "("}}, "groups: pattern"),
        ({"groups": {"pattern": 5}}, "groups.pattern: must be a string"),
        ({"groups": {"prefix": "a,b"}}, "no commas"),
        ({"groups": {"map": {f"{n}": "x" for n in range(1001)}}}, "1000 entries"),
        ({"groups": {}, "count": 0}, "count is a number"),
        ({"groups": {}, "cursor": 5}, "cursor what the answer"),
        ({"groups": {}, "cursor": "x"}, "cursor"),
    ],
)
def test_what_the_configuration_would_refuse_is_refused(
    shared_gateway: Gateway, body: dict[str, Any], says: str
) -> None:
    assert says in refused(shared_gateway.scim.post("/Mapping", json=body), 400)


def test_without_groups_there_is_nothing_to_show(gateway: Gateway) -> None:
    answer = answered(gateway.scim.post("/Mapping", json={"groups": {}}))
    assert answer == {"groups": [], "next": None}
    assert gateway.scim.get("/Mapping").status_code == 405
