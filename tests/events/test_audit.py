"""The audit trail over HTTP, and ``kong-scim audit``, on every host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hosts import Gateway
from kong_scim.cli.main import main
from kong_scim.events.hash_chain import Chain, hash_of
from outbox import events, run
from scim_traffic import BULK, answered, get, new_group, new_user, patched_user, refused

EVENT = "urn:ietf:params:scim:schemas:kong:2.0:Event"


def audit(gateway: Gateway, *arguments: str) -> Result:
    options = ["--scim-url", gateway.scim_base, "--token", gateway.token]
    return CliRunner().invoke(main, ["audit", *options, *arguments])


def record(at: float, user: str, status: int) -> str:
    """Return a line as Kong's file-log writes it (kong/pdk/log.lua), with what the guard adds."""
    return json.dumps(
        {
            "started_at": round(at * 1000),
            "request": {"method": "GET", "uri": "/echo?apikey=secret", "size": 120},
            "response": {"status": status, "size": 300},
            "consumer": {"username": "x"},
            "scim": {"user_id": user, "tenant": "a", "groups": []},
        }
    )


class TestOverHttp:
    def test_an_event_is_found_by_what_it_says_and_read_by_its_id(self, gateway: Gateway) -> None:
        alice = new_user(gateway.scim, "alice")["id"]
        staff = new_group(gateway.scim, alice, name="staff")["id"]
        (event,) = events(gateway, staff)
        assert event["schemas"] == [EVENT]
        assert get(gateway.scim, f"/Events/{event['id']}") == event
        for text in (
            f'users.value eq "{alice}" and actions eq "member-add"',
            f'joined eq "{alice}" and operation eq "create"',
            f'requestId eq "{event["requestId"]}"',
            f'sequence eq {event["sequence"]} and occurred ge "2020-01-01T00:00:00Z"',
            f'users[value eq "{alice}" and added eq "staff"]',
        ):
            found = get(gateway.scim, "/Events", filter=text)
            assert [each["id"] for each in found["Resources"]] == [event["id"]], text

    def test_it_is_read_only(self, gateway: Gateway) -> None:
        new_user(gateway.scim, "alice")
        (event, *_) = events(gateway)
        for method, path in (
            ("POST", "/Events"),
            ("PUT", f"/Events/{event['id']}"),
            ("PATCH", f"/Events/{event['id']}"),
            ("DELETE", f"/Events/{event['id']}"),
        ):
            answer = gateway.scim.request(method, path, json={"schemas": [EVENT]})
            assert "read only" in refused(answer, 405)
            assert "DELETE" not in answer.headers["Allow"]
        operation = {"method": "DELETE", "path": f"/Events/{event['id']}"}
        body = {"schemas": [BULK], "Operations": [operation]}
        (done,) = answered(gateway.scim.post("/Bulk", json=body), 200)["Operations"]
        assert done["status"] == "405"
        assert get(gateway.scim, f"/Events/{event['id']}") == event

    def test_discovery_says_so(self, gateway: Gateway) -> None:
        kind = get(gateway.scim, "/ResourceTypes/Event")
        assert (kind["endpoint"], kind["schema"]) == ("/Events", EVENT)
        schema = get(gateway.scim, f"/Schemas/{EVENT}")
        assert {each["mutability"] for each in schema["attributes"]} == {"readOnly"}
        allowed = gateway.scim.options("/Events").headers["Allow"]
        assert set(allowed.split(", ")) == {"GET", "HEAD", "OPTIONS"}

    def test_a_search_of_everything_leaves_events_out(self, gateway: Gateway) -> None:
        alice = new_user(gateway.scim, "alice")["id"]
        assert events(gateway, alice)
        found = get(gateway.scim, "/", filter=f'id eq "{alice}" or resourceId eq "{alice}"')
        assert [each["id"] for each in found["Resources"]] == [alice]

    def test_another_tenant_sees_nothing_of_it(self, gateway: Gateway) -> None:
        new_user(gateway.scim, "alice")
        (event, *_) = events(gateway)
        assert gateway.other_scim.get(f"/Events/{event['id']}").status_code == 404


class TestTheCommand:
    def test_it_tells_what_happened_to_a_user(self, gateway: Gateway) -> None:
        alice, bob = (new_user(gateway.scim, name)["id"] for name in ("alice", "bob"))
        new_group(gateway.scim, alice, name="staff")
        gateway.give_key("alice")
        patched_user(gateway.scim, alice, {"op": "replace", "value": {"active": False}})
        events(gateway)
        shown = audit(gateway, "--user", "alice", "--since", "1h")
        assert shown.exit_code == 0, shown.output
        # DB-less, the key that she was given is one too.
        lines = shown.output.splitlines()
        created, joined, left = (each for each in lines if "credential-add" not in each)
        assert len(lines) == 3 + gateway.host.dbless
        assert f"create  User {alice}" in created
        assert "member-add" in joined
        assert "+staff" in joined
        assert "deactivate credentials-revoke" in left
        assert "-staff suspended" in left
        assert "revoked 1 keyauth_credentials" in left
        assert "by idp from 127.0.0.1, request " in left
        assert bob not in shown.output

    def test_in_json_it_is_what_the_endpoint_says(self, gateway: Gateway) -> None:
        alice = new_user(gateway.scim, "alice")["id"]
        (event,) = events(gateway, alice)
        shown = audit(gateway, "--user", alice, "--json")
        assert [json.loads(line) for line in shown.output.splitlines()] == [event]

    def test_what_the_user_did_meanwhile_stands_between_the_events(
        self, gateway: Gateway, tmp_path: Path
    ) -> None:
        alice = new_user(gateway.scim, "alice")["id"]
        patched_user(gateway.scim, alice, {"op": "replace", "value": {"active": False}})
        created, deactivated = events(gateway, alice)
        start, end = (
            datetime.fromisoformat(each["occurred"]).timestamp() for each in (created, deactivated)
        )
        between, after = (start + end) / 2, end + 1
        log = tmp_path / "access.json"
        log.write_text(
            "\n".join(
                [
                    "not JSON at all",
                    record(after, alice, 403),
                    *[record(between, alice, 200)] * 14,
                    record(between, "somebody else", 200),
                    json.dumps({"request": {}}),
                    *[record(after + 1, alice, 403)] * 2,
                ]
            )
        )
        shown = audit(gateway, "--user", "alice", "--access", str(log))
        assert shown.exit_code == 0, shown.output
        first, used, left, refusals = shown.output.splitlines()
        assert "create  by idp, request " in first
        assert "access used 14 times: GET /echo (14)" in used
        assert "deactivate" in left
        assert "refused 3 times: GET /echo (3)" in refusals
        assert "secret" not in shown.output
        ran = audit(gateway, "--access", str(log))
        assert ran.exit_code == 2

    def test_a_wrong_token_is_a_sentence(self, gateway: Gateway) -> None:
        shown = audit(gateway, "--token", "wrong")
        assert (shown.exit_code, "401" in shown.output) == (1, True)
        assert "Traceback" not in shown.output


class TestVerification:
    @pytest.fixture
    def tampered(self, gateway: Gateway) -> Iterator[Gateway]:
        """A gateway whose trail is made anew afterwards: nothing mends one."""
        for name in ("alice", "bob", "carol"):
            new_user(gateway.scim, name)
        events(gateway)
        yield gateway
        run(gateway, "DELETE FROM scim_resources WHERE type = 'Event' AND tenant = 'a'")
        run(gateway, "DELETE FROM scim_chains WHERE tenant = 'a'")

    def test_a_trail_that_nobody_touched_is_right(self, gateway: Gateway) -> None:
        new_user(gateway.scim, "alice")
        events(gateway)
        shown = audit(gateway, "verify")
        assert (shown.exit_code, shown.output[:4]) == (0, "ok: "), shown.output

    def test_a_record_that_was_kept_elsewhere_is_compared(self, tampered: Gateway) -> None:
        """Who writes the database can write a whole new chain; not what others have kept."""
        first, *_, last = events(tampered)
        known = [f"--known={each['sequence']}:{each['hash']}" for each in (first, last)]
        shown = audit(tampered, "verify", *known)
        assert (shown.exit_code, shown.output[:4]) == (0, "ok: "), shown.output
        new_user(tampered.scim, "dave")
        events(tampered)
        assert audit(tampered, "verify", *known).exit_code == 0

        # A chain that is right from end to end, of which one record says something else.
        forged = []
        previous = Chain.read(tampered.scim.get("/Events/chain").json()).first_hash
        for event in events(tampered):
            event |= {"actor": "eve", "previousHash": previous}
            event["hash"] = previous = hash_of(event)
            doc = {name: value for name, value in event.items() if name not in ("id", "meta")}
            text = json.dumps(doc).replace("'", "''")
            forged.append(f"UPDATE scim_resources SET doc = '{text}' WHERE id = '{event['id']}'")
        forged.append(f"UPDATE scim_chains SET hash = '{previous}' WHERE tenant = 'a'")
        for statement in forged:
            run(tampered, statement)
        assert audit(tampered, "verify").exit_code == 0
        shown = audit(tampered, "verify", known[1])
        assert shown.exit_code == 1
        assert f"sequence {last['sequence']} or before it" in shown.output

    def test_what_is_no_record_is_refused(self, gateway: Gateway) -> None:
        shown = audit(gateway, "verify", "--known", "57")
        assert shown.exit_code == 2
        new_user(gateway.scim, "alice")
        shown = audit(gateway, "verify", "--known", f"{10**9}:{'0' * 64}")
        assert (shown.exit_code, f"sequence {10**9} or" in shown.output) == (1, True)

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (
                "UPDATE scim_resources SET doc = replace(doc, 'idp', 'eve') WHERE id = '{id}'",
                "altered",
            ),
            ("DELETE FROM scim_resources WHERE id = '{id}'", "removed"),
        ],
    )
    def test_one_that_was_tampered_with_is_not(
        self, tampered: Gateway, damage: str, words: str
    ) -> None:
        event = events(tampered)[-2]
        run(tampered, damage.format(id=event["id"]))
        shown = audit(tampered, "verify")
        assert shown.exit_code == 1
        assert f"sequence {event['sequence']}: {words}" in shown.output
