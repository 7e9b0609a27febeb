"""Webhooks, from the write to the receiver, on every host."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import httpx
import jwt
import pytest
from click.testing import CliRunner
from joserfc import jwk

from hosts import Gateway, eventually
from kong_scim.cli.main import main
from outbox import events, run
from receiver import Receiver, receiver
from scim_traffic import get, new_group, new_user, patched_user, refused

pytestmark = pytest.mark.long

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()
PROV = "urn:ietf:params:scim:event:prov:"
FEED = "urn:ietf:params:scim:event:feed:"

_LOOPBACK = {"allow_http": True, "allow_hosts": ["127.0.0.1"], "timeout": 2}


@pytest.fixture(scope="module")
def shared_receiver() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def hook(shared_receiver: Receiver) -> Receiver:
    """A receiver that takes everything, and has got nothing yet that the test will look at."""
    shared_receiver.behave = lambda _: 202
    return shared_receiver


@pytest.fixture
def hooked(hook: Receiver, gateway_with: Callable[..., Gateway]) -> Gateway:
    """A gateway that tells the receiver of every event in JSON."""
    webhook = {"name": "hr", "url": hook.url, "secret": SECRET}
    return gateway_with(events={"webhooks": [webhook], **_LOOPBACK})


def told(hook: Receiver, resource_id: str, events: int = 1) -> list[dict[str, Any]]:
    """Return the events of a resource that were taken, once there are so many."""

    def found() -> list[dict[str, Any]]:
        posts = [post.event for post in hook.taken() if post.body.startswith(b"{")]
        return [event for event in posts if event["resourceId"] == resource_id]

    eventually(lambda: len(found()) >= events, "the receiver to be told")
    return found()


def deliveries(gateway: Gateway, *arguments: str) -> str:
    options = ["--scim-url", gateway.scim_base, "--token", gateway.token]
    ran = CliRunner().invoke(main, ["deliveries", *options, *arguments])
    assert ran.exit_code == 0, ran.output
    return ran.output


def listed(gateway: Gateway, resource_id: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in deliveries(gateway, "--json").splitlines()]
    return [each for each in found if each["resource"] == resource_id]


class TestSignedJson:
    def test_a_receiver_is_told_what_the_trail_says_and_can_tell_it_is_true(
        self, hooked: Gateway, hook: Receiver
    ) -> None:
        alice = new_user(hooked.scim)["id"]
        (event,) = told(hook, alice)
        shown = get(hooked.scim, f"/Events/{event['id']}")
        for each in (event, shown):
            each.pop("occurred")
        assert event == {k: v for k, v in shown.items() if k not in ("schemas", "meta")}
        (post,) = [post for post in hook.taken() if alice.encode() in post.body]
        name, timestamp = post.headers["webhook-id"], post.headers["webhook-timestamp"]
        assert name == event["id"]
        signed = f"{name}.{timestamp}.".encode() + post.body
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert post.headers["webhook-signature"] == f"v1,{digest}"
        assert json.loads(post.body)["type"] == "user.create"

    def test_events_of_a_resource_come_in_order_though_one_fails(
        self, hooked: Gateway, hook: Receiver
    ) -> None:
        tries = count()
        hook.behave = lambda body: 500 if b"user.create" in body and next(tries) < 2 else 200
        alice = new_user(hooked.scim)["id"]
        for title in ("one", "two"):
            patched_user(hooked.scim, alice, {"op": "replace", "value": {"title": title}})
        versions = [event["versionAfter"] for event in told(hook, alice, 3)]
        assert versions == [1, 2, 3]

    def test_a_target_may_ask_for_some_events_only(
        self, hook: Receiver, gateway_with: Callable[..., Gateway]
    ) -> None:
        wanted = ["user.deactivate", "group.create"]
        webhook = {"name": "some", "url": hook.url, "secret": SECRET, "events": wanted}
        gateway = gateway_with(events={"webhooks": [webhook], **_LOOPBACK})
        alice = new_user(gateway.scim)["id"]
        patched_user(gateway.scim, alice, {"op": "replace", "value": {"active": False}})
        staff = new_group(gateway.scim, alice)["id"]
        told(hook, staff)
        assert [event["actions"] for event in told(hook, alice)] == [["deactivate"]]

    def test_the_secret_may_be_a_vault_reference(
        self, hook: Receiver, gateway_with: Callable[..., Gateway]
    ) -> None:
        webhook = {"name": "v", "url": hook.url, "secret": "{vault://env/scim-token-b}"}
        gateway = gateway_with(events={"webhooks": [webhook], **_LOOPBACK})
        alice = new_user(gateway.scim)["id"]
        (event,) = told(hook, alice)
        (post,) = [post for post in hook.taken() if alice.encode() in post.body]
        signed = f"{event['id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
        digest = hmac.new(b"token-of-tenant-b", signed, hashlib.sha256).digest()
        assert post.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


@pytest.fixture(scope="module")
def key() -> str:
    """A private key in PEM."""
    return jwk.ECKey.generate_key("P-256").as_pem(private=True).decode()


class TestSecurityEventTokens:
    def test_a_token_is_verified_by_another_library_against_the_served_keys(
        self, hook: Receiver, gateway_with: Callable[..., Gateway], key: str
    ) -> None:
        webhook = {"name": "set", "url": hook.url, "format": "set", "audience": "https://hr"}
        gateway = gateway_with(
            events={
                "webhooks": [webhook],
                "signing_key": key,
                "issuer": "https://gw.example.com",
                **_LOOPBACK,
            }
        )
        alice = new_user(gateway.scim)["id"]
        patched_user(gateway.scim, alice, {"op": "replace", "value": {"active": False}})
        served = httpx.get(f"{gateway.scim_base}/jwks.json")  # without a token
        assert served.status_code == 200
        assert "d" not in served.json()["keys"][0]
        keys = jwt.PyJWKSet.from_dict(served.json())

        def tokens() -> list[dict[str, Any]]:
            posts = [post for post in hook.taken() if post.body.startswith(b"ey")]
            found = []
            for post in posts:
                header = jwt.get_unverified_header(post.body.decode())
                assert header["typ"] == "secevent+jwt"
                claims = jwt.decode(
                    post.body.decode(),
                    keys[header["kid"]],
                    algorithms=["ES256"],
                    audience="https://hr",
                    issuer="https://gw.example.com",
                )
                assert post.headers["content-type"] == "application/secevent+jwt"
                if claims["sub_id"] == {"format": "scim", "uri": f"/Users/{alice}"}:
                    found.append(claims)
            return found

        eventually(lambda: len(tokens()) == 2, "both tokens")
        created, deactivated = tokens()
        assert set(created["events"]) == {FEED + "add", PROV + "create:notice"}
        assert created["events"][PROV + "create:notice"]["version"] == 'W/"1"'
        assert set(deactivated["events"]) == {PROV + "patch:notice", PROV + "deactivate"}
        assert deactivated["events"][PROV + "patch:notice"]["attributes"] == ["active"]
        shown = get(gateway.scim, f"/Events/{deactivated['jti']}")
        assert (shown["resourceId"], shown["requestId"]) == (alice, deactivated["txn"])

    def test_a_receiver_that_polls_gets_all_in_order_until_it_acknowledges(
        self, gateway_with: Callable[..., Gateway], key: str
    ) -> None:
        public = "https://gw.example.com/scim/v2"
        gateway = gateway_with(base_url=public, events={"poll": True, "signing_key": key})
        people = [new_user(gateway.scim)["id"] for _ in range(5)]

        def poll(**body: Any) -> dict[str, Any]:
            # The host that a request names is chosen by who sends it.
            headers = {"Host": "evil.example"}
            answer = gateway.scim.post("/Events/poll", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found

        keys = jwt.PyJWKSet.from_dict(httpx.get(f"{gateway.scim_base}/jwks.json").json())
        seen: list[str] = []
        names: list[str] = []
        waiting = poll(maxEvents=2)["sets"]  # the first one waits for an event
        events(gateway)  # all are sealed
        assert list(poll(maxEvents=2, returnImmediately=True)["sets"])[: len(waiting)] == list(
            waiting
        )
        acknowledged: list[str] = []
        while True:
            answer = poll(ack=acknowledged, maxEvents=2, returnImmediately=True)
            for name, token in answer["sets"].items():
                header = jwt.get_unverified_header(token)
                claims = jwt.decode(
                    token,
                    keys[header["kid"]],
                    algorithms=["ES256"],
                    audience=public,
                )
                assert claims["jti"] == name
                names.append(name)
                seen.append(claims["sub_id"]["uri"].removeprefix("/Users/"))
            acknowledged = list(answer["sets"])
            if not answer["sets"]:
                break
        assert [each for each in seen if each in people] == people
        assert len(names) == len(set(names))
        assert poll(returnImmediately=True) == {"sets": {}, "moreAvailable": False}

    @pytest.mark.parametrize(
        ("config", "audience"),
        [
            ({"poll_audience": "https://siem.example.com"}, "https://siem.example.com"),
            ({"issuer": "https://gw.example.com"}, "https://gw.example.com"),
            ({}, "kong-scim"),
        ],
        ids=["audience", "issuer", "neither"],
    )
    def test_whom_a_polled_token_is_for_is_said_by_the_configuration(
        self,
        gateway_with: Callable[..., Gateway],
        key: str,
        config: dict[str, str],
        audience: str,
    ) -> None:
        gateway = gateway_with(events={"poll": True, "signing_key": key, **config})
        alice = new_user(gateway.scim)["id"]
        eventually(lambda: bool(listed(gateway, alice)), "the event to be sealed")
        body = {"returnImmediately": True}
        headers = {"Host": "evil.example"}
        sets = gateway.scim.post("/Events/poll", json=body, headers=headers).json()["sets"]
        claims = [jwt.decode(each, options={"verify_signature": False}) for each in sets.values()]
        assert {each["aud"] for each in claims} == {audience}

    def test_an_event_that_no_token_can_be_made_of_stands_before_no_other(
        self, gateway_with: Callable[..., Gateway], key: str
    ) -> None:
        gateway = gateway_with(events={"poll": True, "signing_key": key})
        people = [new_user(gateway.scim)["id"] for _ in range(3)]
        eventually(lambda: all(listed(gateway, each) for each in people), "them to be sealed")
        for person, doc in zip(people, ("{", '{"resourceType": "User"}'), strict=False):
            (delivery,) = listed(gateway, person)
            event = delivery["event"]
            run(gateway, f"UPDATE scim_resources SET doc = '{doc}' WHERE id = '{event}'")
        body = {"returnImmediately": True}
        sets = gateway.scim.post("/Events/poll", json=body).raise_for_status().json()["sets"]
        (good,) = listed(gateway, people[2])
        assert good["event"] in sets
        states = [listed(gateway, each)[0]["state"] for each in people]
        assert states == ["dead", "dead", "pending"]

    def test_what_a_polling_receiver_refuses_is_given_up_with_what_it_says(
        self, gateway_with: Callable[..., Gateway], key: str
    ) -> None:
        gateway = gateway_with(events={"poll": True, "signing_key": key})
        alice = new_user(gateway.scim)["id"]
        eventually(lambda: bool(listed(gateway, alice)), "the event to be sealed")
        (delivery,) = listed(gateway, alice)
        error = {"err": "invalid_audience", "description": "not for me"}
        body = {"setErrs": {delivery["event"]: error}, "maxEvents": 0}
        assert gateway.scim.post("/Events/poll", json=body).json()["sets"] == {}
        (delivery,) = listed(gateway, alice)
        assert delivery["state"] == "dead"
        assert "not for me" in delivery["attempts"][0]["answer"]
        shown = deliveries(gateway, "--failed")
        assert str(delivery["id"]) in shown
        assert "deliveries" in deliveries(gateway, "replay", "--all-failed")
        assert listed(gateway, alice)[0]["state"] == "pending"

    def test_nothing_is_polled_where_the_configuration_does_not_say_so(
        self, gateway: Gateway
    ) -> None:
        refused(gateway.scim.post("/Events/poll", json={}), 404)

    def test_without_a_key_there_are_no_keys(self, gateway: Gateway) -> None:
        assert httpx.get(f"{gateway.scim_base}/jwks.json").json() == {"keys": []}


class TestWhatCanBeSeenAndMended:
    def test_every_attempt_is_kept_with_what_was_answered(
        self, hooked: Gateway, hook: Receiver
    ) -> None:
        tries, busy = count(), (503, {"Retry-After": "1"}, "busy " * 1000)
        hook.behave = lambda body: (
            busy if b'"type":"user.create"' in body and next(tries) == 0 else 200
        )
        alice = new_user(hooked.scim)["id"]
        told(hook, alice)
        eventually(lambda: listed(hooked, alice)[0]["state"] == "delivered", "the record of it")
        (delivery,) = listed(hooked, alice)
        failed, done = delivery["attempts"]
        assert (failed["status"], done["status"]) == (503, 200)
        assert failed["answer"] == ("busy " * 1000)[:1024]
        shown = deliveries(hooked)
        assert "503" in shown
        assert "delivered  hr" in shown

    def test_a_delivery_can_be_sent_again(self, hooked: Gateway, hook: Receiver) -> None:
        alice = new_user(hooked.scim)["id"]
        told(hook, alice)
        eventually(lambda: listed(hooked, alice)[0]["state"] == "delivered", "the record of it")
        (delivery,) = listed(hooked, alice)
        assert "1 deliveries" in deliveries(hooked, "replay", str(delivery["id"]))
        first, second = told(hook, alice, 2)
        assert first == second

    def test_what_makes_no_sense_is_refused(self, hooked: Gateway) -> None:
        refused(hooked.scim.get("/Events/deliveries", params={"state": "x"}), 400, "invalidValue")
        refused(hooked.scim.get("/Events/deliveries", params={"after": "x"}), 400, "invalidValue")
        for body in ({}, {"ids": ["1"]}, {"ids": [1], "failed": True}):
            answer = hooked.scim.post("/Events/deliveries/replay", json=body)
            refused(answer, 400, "invalidValue")
        for content in (b"{", b"[1]"):
            answer = hooked.scim.post("/Events/deliveries/replay", content=content)
            refused(answer, 400, "invalidSyntax")
        refused(hooked.scim.delete("/Events/deliveries"), 405)
        assert httpx.get(f"{hooked.scim_base}/Events/deliveries").status_code == 401
