"""A quarantine is decided by whoever may, in words that mean what they say, on every host."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from joserfc import jwk
from quarantine_support import crowd, gone, standing

from hosts import Gateway, eventually
from kong_scim.cli.main import main
from outbox import events, run
from receiver import Receiver, receiver
from scim_traffic import refused

pytestmark = pytest.mark.long

LIMIT = 3
LONG_AGO = "2020-01-01T00:00:00.000000+00:00"


@pytest.fixture
def held(gateway_with: Callable[..., Gateway]) -> tuple[Gateway, list[str]]:
    """A gateway in quarantine, and the people it did not let go: more than may go at once."""
    gateway = gateway_with(quarantine={"users": LIMIT})
    people = crowd(gateway, 3 * LIMIT)
    assert gone(gateway.scim, people[: LIMIT + 1]) == [204] * LIMIT + [409]
    return gateway, people[LIMIT:]


def command(gateway: Gateway, *arguments: str) -> str:
    options = ["--scim-url", gateway.scim_base, "--token", gateway.token]
    ran = CliRunner().invoke(main, ["quarantine", *options, *arguments])
    assert ran.exit_code == 0, ran.output
    return ran.output


def of_quarantine(gateway: Gateway, since: int = 0) -> list[dict[str, Any]]:
    """The events on the quarantine after a sequence, once all are in the trail."""
    return [
        event
        for event in events(gateway)
        if event["resourceType"] == "Quarantine" and event["sequence"] > since
    ]


class TestApprove:
    def test_it_lets_everything_through_and_then_counting_begins_anew(
        self, held: tuple[Gateway, list[str]]
    ) -> None:
        gateway, people = held
        assert command(gateway, "approve").startswith("approved: everything goes through until 20")
        assert gone(gateway.scim, people) == [204] * len(people)
        found = standing(gateway)
        assert (found["state"], found["heldTotal"]) == ("approved", 0)
        # The hour is over.
        run(gateway, f"UPDATE scim_quarantines SET until = '{LONG_AGO}'")
        run(gateway, f"UPDATE scim_departures SET at = '{LONG_AGO}'")
        assert standing(gateway)["state"] == "open"
        assert gone(gateway.scim, crowd(gateway, LIMIT + 1)) == [204] * LIMIT + [409]

    def test_it_lasts_as_long_as_it_says(self, held: tuple[Gateway, list[str]]) -> None:
        gateway, _ = held
        command(gateway, "approve", "--minutes", "10")
        found = standing(gateway)
        assert found["decidedBy"] == "idp"
        until, decided = (datetime.fromisoformat(found[each]) for each in ("until", "decided"))
        assert until - decided == timedelta(minutes=10)
        approved = of_quarantine(gateway)[-1]
        assert (approved["operation"], found["until"] in approved["detail"]) == ("approve", True)

    def test_it_may_come_before_a_clean_up(self, gateway_with: Callable[..., Gateway]) -> None:
        gateway = gateway_with(quarantine={"users": LIMIT})
        people = crowd(gateway, 2 * LIMIT)
        command(gateway, "approve")
        assert gone(gateway.scim, people) == [204] * len(people)


class TestReject:
    def test_it_goes_on_refusing_and_longer_for_who_insists(
        self, held: tuple[Gateway, list[str]]
    ) -> None:
        gateway, people = held
        assert command(gateway, "reject").startswith("rejected: nobody is deactivated or deleted")
        sooner = "2099-01-01T00:00:00.000000+00:00"
        run(gateway, f"UPDATE scim_quarantines SET until = '{sooner}'")
        sentence = refused(gateway.scim.delete(f"/Users/{people[0]}"), 409)
        assert "An administrator rejected it" in sentence
        assert "kong-scim quarantine approve" in sentence
        # A whole window from that request on, and no longer what it was.
        assert not standing(gateway)["until"].startswith("2099")

    def test_once_the_provider_is_quiet_for_a_window_it_is_over(
        self, held: tuple[Gateway, list[str]]
    ) -> None:
        gateway, people = held
        command(gateway, "reject")
        run(gateway, f"UPDATE scim_quarantines SET until = '{LONG_AGO}'")
        run(gateway, f"UPDATE scim_departures SET at = '{LONG_AGO}'")
        assert gone(gateway.scim, people[: LIMIT + 1]) == [204] * LIMIT + [409]

    def test_an_approval_can_be_taken_back(self, held: tuple[Gateway, list[str]]) -> None:
        gateway, people = held
        command(gateway, "approve")
        assert gone(gateway.scim, people[:1]) == [204]
        command(gateway, "reject")
        assert gone(gateway.scim, people[1:2]) == [409]

    def test_so_can_one_that_came_in_advance(self, gateway_with: Callable[..., Gateway]) -> None:
        gateway = gateway_with(quarantine={"users": LIMIT})
        (alice,) = crowd(gateway, 1)
        command(gateway, "approve")
        command(gateway, "reject")
        sentence = refused(gateway.scim.delete(f"/Users/{alice}"), 409)
        assert "in quarantine since 20" in sentence
        assert "An administrator rejected it" in sentence

    def test_without_a_quarantine_there_is_nothing_to_reject(
        self, gateway_with: Callable[..., Gateway]
    ) -> None:
        gateway = gateway_with(quarantine={"users": LIMIT})
        answer = gateway.scim.post("/Quarantine", json={"decision": "reject"})
        assert "nothing to reject" in refused(answer, 409)


class TestLift:
    def test_it_is_over_at_once_and_counting_begins_anew(
        self, held: tuple[Gateway, list[str]]
    ) -> None:
        gateway, people = held
        assert command(gateway, "lift") == "open: nothing is held back\n"
        assert standing(gateway)["gone"] == 0
        assert gone(gateway.scim, people[: LIMIT + 1]) == [204] * LIMIT + [409]


class TestWhoIsTold:
    def test_the_trail_says_once_when_it_began_and_how_it_was_decided(
        self, gateway_with: Callable[..., Gateway]
    ) -> None:
        gateway = gateway_with(quarantine={"users": LIMIT})
        start = events(gateway)[-1]["sequence"]
        people = crowd(gateway, 2 * LIMIT)
        gone(gateway.scim, people)
        command(gateway, "reject")
        command(gateway, "approve")
        began, rejected, approved = of_quarantine(gateway, start)
        assert [each["operation"] for each in (began, rejected, approved)] == [
            "begin",
            "reject",
            "approve",
        ]
        assert began["detail"].startswith(f"{LIMIT} of {2 * LIMIT} users were deactivated or")
        assert (began["actor"], began["address"]) == ("idp", "127.0.0.1")
        options = ["--scim-url", gateway.scim_base, "--token", gateway.token]
        shown = CliRunner().invoke(main, ["audit", *options])
        assert f"begin   Quarantine {began['resourceId']}  {began['detail']}" in shown.output
        verified = CliRunner().invoke(main, ["audit", *options, "verify"])
        assert verified.output.startswith("ok: "), verified.output

    @pytest.fixture
    def hook(self) -> Iterator[Receiver]:
        with receiver() as made:
            yield made

    def test_a_webhook_is_told_in_json_and_as_a_token(
        self, hook: Receiver, gateway_with: Callable[..., Gateway]
    ) -> None:
        key = jwk.ECKey.generate_key("P-256").as_pem(private=True).decode()
        json_hook = {"name": "ops", "url": hook.url, "secret": "s", "events": ["quarantine.begin"]}
        set_hook = {"name": "set", "url": hook.url, "format": "set", "events": ["quarantine.begin"]}
        hooks = {"webhooks": [json_hook, set_hook], "signing_key": key}
        loopback = {"allow_http": True, "allow_hosts": ["127.0.0.1"], "timeout": 2}
        gateway = gateway_with(quarantine={"users": 1}, events={**hooks, **loopback})
        hook.behave = lambda _: 202
        gone(gateway.scim, crowd(gateway, 3))
        eventually(lambda: len(hook.taken()) >= 2, "both to be told")
        bodies = sorted((post.body for post in hook.taken()), key=lambda body: body[:1] == b"{")
        token, told = bodies[0].decode(), json.loads(bodies[1])
        assert len(bodies) == 2
        assert told["type"] == "quarantine.begin"
        assert "1 of 3 users" in told["data"]["detail"]
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["events"] == {
            "urn:kong-scim:event:quarantine:begin": {"reason": told["data"]["detail"]}
        }
        assert claims["sub_id"] == {"format": "scim", "uri": "/Quarantine"}


class TestTheCommand:
    def test_it_shows_what_one_must_know_to_decide(self, held: tuple[Gateway, list[str]]) -> None:
        gateway, people = held
        shown = command(gateway, "show").splitlines()
        assert shown[0].startswith("quarantined: nobody is deactivated or deleted until you")
        assert "3 of 9 users were deactivated or deleted within 60 minutes" in shown[1]
        assert shown[2] == "3 of 9 users are gone; 3 may be within 60 minutes"
        assert "removed: 3 users" in shown
        assert "held back: 1 users, 1 requests" in shown
        name = gateway.scim.get(f"/Users/{people[0]}").json()["userName"]
        assert shown[-1].endswith(f"delete      {people[0]}  {name}  refused 1 times")
        assert json.loads(command(gateway, "show", "--json")) == standing(gateway)

    def test_what_cannot_be_done_is_a_sentence(self, gateway: Gateway) -> None:
        options = ["--scim-url", gateway.scim_base, "--token", gateway.token]
        ran = CliRunner().invoke(main, ["quarantine", *options, "reject"])
        assert ran.exit_code == 1, ran.output
        assert "Error: /Quarantine: 409: This tenant is not in quarantine" in ran.output


class TestTheEndpoint:
    def test_who_may_provision_may_not_decide(self, gateway_with: Callable[..., Gateway]) -> None:
        """Or else the provider that makes the mistake approves of it."""
        token = {"name": "idp", "value": "{vault://env/scim-token-a}"}
        everything = ["scim:read", "scim:users", "scim:groups", "scim:bulk", "scim:events"]
        gateway = gateway_with(tokens=[{**token, "scopes": everything}])
        for method in ("GET", "POST"):
            answer = gateway.scim.request(method, "/Quarantine", json={"decision": "approve"})
            assert "scim:admin" in refused(answer, 403)

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"decision": "perhaps"},
            {"decision": ["approve"]},
            {"decision": "approve", "minutes": 0},
            {"decision": "approve", "minutes": True},
            {"decision": "approve", "minutes": 10_081},
            {"decision": "reject", "minutes": 5},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, gateway: Gateway, body: dict[str, Any]) -> None:
        refused(gateway.scim.post("/Quarantine", json=body), 400, "invalidValue")

    def test_what_is_no_json_or_another_method_is_refused(self, gateway: Gateway) -> None:
        refused(gateway.scim.post("/Quarantine", content=b"["), 400, "invalidSyntax")
        answer = gateway.scim.delete("/Quarantine")
        refused(answer, 405)
        assert answer.headers["Allow"] == "GET, HEAD, POST"
