"""What the audit knows of tokens, on every host: the last use, and an event before an expiry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hosts import Gateway, eventually, scim_client
from kong_scim.cli.main import main
from outbox import _run, events
from scim_traffic import answered, refused
from variants import variant

ALL = ["scim:read", "scim:users", "scim:groups", "scim:events"]


def moment(**ahead: float) -> str:
    return f"{datetime.now(UTC) + timedelta(**ahead):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture(scope="module")
def expires() -> str:
    return moment(days=10)


@pytest.fixture(scope="module")
def audited(shared_gateway: Gateway, expires: str) -> Iterator[Gateway]:
    tokens: list[dict[str, Any]] = [
        {"name": "idp", "value": "{vault://env/scim-token-a}", "scopes": ALL},
        {"name": "soon", "value": "of-soon", "scopes": ["scim:read"], "expires": expires},
        {"name": "first", "value": "of-first", "scopes": ["scim:read"]},
        {"name": "later", "value": "of-later", "expires": moment(days=100)},
        {"name": "past", "value": "of-past", "expires": "2025-01-01T00:00:00Z"},
    ]
    with variant(shared_gateway, tokens=tokens) as gateway:
        yield gateway


def listed(gateway: Gateway) -> dict[str, dict[str, Any]]:
    answer = gateway.scim.get("/Events/tokens").raise_for_status().json()
    return {each["name"]: each for each in answer["tokens"]}


def command(gateway: Gateway, *arguments: str) -> Result:
    options = ["--scim-url", gateway.scim_base, "--token", gateway.token]
    return CliRunner().invoke(main, [*arguments, *options])


def test_a_token_shows_when_it_was_last_used_and_one_that_was_not_says_never(
    audited: Gateway, expires: str
) -> None:
    before = datetime.now(UTC)
    with scim_client(audited.scim_base, "of-soon") as scim:
        answered(scim.get("/Users"), 200)
    found = listed(audited)
    assert before <= datetime.fromisoformat(found["soon"].pop("lastUsed")) <= datetime.now(UTC)
    assert found["soon"] == {
        "name": "soon",
        "scopes": ["scim:read"],
        "expires": expires,
        "networks": [],
    }
    assert found["later"]["lastUsed"] is None
    assert "of-soon" not in json.dumps(found)


def test_a_token_that_was_refused_was_not_used(audited: Gateway) -> None:
    with scim_client(audited.scim_base, "of-past") as scim:
        refused(scim.get("/Users"), 401)
    assert listed(audited)["past"]["lastUsed"] is None


def test_the_last_use_is_written_down(audited: Gateway) -> None:
    """The first one, which this is, by the next tick; later ones within a minute."""
    with scim_client(audited.scim_base, "of-first") as scim:
        answered(scim.get("/Users"), 200)
    text = "SELECT count(*) FROM scim_callers WHERE name = 'first' AND last_used <> ''"
    eventually(lambda: int(_run(audited, text)[0][0]) > 0, "the last use")


def test_who_uses_which_token_needs_the_scope_for_the_audit(audited: Gateway) -> None:
    with scim_client(audited.scim_base, "of-soon") as scim:
        assert "scim:events" in refused(scim.get("/Events/tokens"), 403)


def test_a_token_that_expires_within_14_days_is_one_event_in_the_trail(
    audited: Gateway, expires: str
) -> None:
    eventually(lambda: bool(events(audited, "soon")), "the warning")
    (event,) = events(audited, "soon")
    assert (event["operation"], event["resourceType"]) == ("expiry-warning", "Token")
    assert event["values"] == [{"attribute": "expires", "value": expires}]
    assert events(audited, "later") == events(audited, "past") == []


def test_the_commands_show_both(audited: Gateway, expires: str) -> None:
    eventually(lambda: bool(events(audited, "soon")), "the warning")
    shown = command(audited, "token", "list")
    assert shown.exit_code == 0, shown.output
    lines = {line.split()[0]: line for line in shown.output.splitlines()}
    assert f"expires {expires}" in lines["soon"]
    assert "last used never" in lines["later"]
    assert f"last used {datetime.now(UTC):%Y-}" in lines["idp"]
    trail = command(audited, "audit")
    assert trail.exit_code == 0, trail.output
    (line,) = [each for each in trail.output.splitlines() if "expiry-warning" in each]
    assert f"Token soon  expires at {expires}  by kong-scim" in line
    options = ["--scim-url", audited.scim_base, "--token", audited.token]
    verified = CliRunner().invoke(main, ["audit", *options, "verify"])
    assert verified.exit_code == 0, verified.output
