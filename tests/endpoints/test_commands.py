"""``kong-scim requests`` and ``kong-scim who``: the same in a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from hosts import Gateway
from kong_scim.cli.main import main
from scim_traffic import new_group, new_user, unique, user_body


def run(gateway: Gateway, *arguments: str) -> Result:
    command, *rest = arguments
    options = ["--scim-url", gateway.scim_base, "--token", gateway.token]
    return CliRunner().invoke(main, [command, *options, *rest])


def test_requests_are_listed_with_the_sentence_below_what_failed(gateway: Gateway) -> None:
    new_user(gateway.scim, "alice")
    agent = {"User-Agent": "Okta SCIM Client 1.0.0"}
    taken = gateway.scim.post("/Users", json=user_body("alice"), headers=agent).json()["detail"]
    gateway.scim.get("/Users")

    first, sentence = run(gateway, "requests", "--failed", "--count", "1").output.splitlines()

    assert "  409  " in first
    assert first.endswith("(Okta)  POST /Users")
    assert sentence.strip() == taken


def test_more_requests_than_a_page_are_listed_and_not_more_than_asked_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kong_scim.cli.requests.PAGE", 2)
    marks = [unique("mark") for _ in range(5)]
    for mark in marks:
        gateway.scim.get(f"/Users/{mark}")

    lines = run(gateway, "requests", "--json", "--count", "5").output.splitlines()

    assert [json.loads(line)["path"] for line in lines] == [
        f"/Users/{mark}" for mark in marks[::-1]
    ]


def test_who_says_why_a_person_has_a_group(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(groups={"pattern": "kong-(.*)"})
    user = new_user(gateway.scim, "alice@example.com", displayName="Alice")
    team = new_group(gateway.scim, user["id"], name="Team")
    new_group(gateway.scim, team["id"], name="kong-admins")
    gateway.give_key(user["id"])

    for named in ("alice@example.com", user["id"], "ali"):
        result = run(gateway, "who", named)
        assert result.exit_code == 0, result.output
        assert f"Consumer: alice@example.com  {user['id']}" in result.output
        assert "by Team > kong-admins: `groups.pattern` 'kong-(.*)' matches" in result.output
        assert "keyauth_credentials" in result.output
    assert json.loads(run(gateway, "who", "ali", "--json").output)["id"] == user["id"]


def test_a_name_that_several_people_have_or_nobody_has_is_an_error(gateway: Gateway) -> None:
    for name in ("alice", "alina"):
        new_user(gateway.scim, name)

    several, nobody = run(gateway, "who", "ali"), run(gateway, "who", "zoe")

    assert (several.exit_code, nobody.exit_code) == (1, 1)
    assert "ali may be alice, alina" in several.output
    assert "404" in nobody.output
