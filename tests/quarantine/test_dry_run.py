"""A dry run answers as if it had worked, and leaves nothing but an event, on every host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from quarantine_support import Rehearsal, crowd, gone, is_there, standing

from hosts import Gateway
from kong_scim.cli.main import main
from outbox import events
from scim_traffic import (
    BULK,
    answered,
    get,
    members_of,
    new_group,
    new_user,
    patch,
    patched_user,
    refused,
    user_body,
)

pytestmark = pytest.mark.long

DEACTIVATE = {"op": "replace", "value": {"active": False}}


def last(gateway: Gateway, resource: str) -> dict[str, Any]:
    """The last event of a resource."""
    return events(gateway, resource)[-1]


def said(event: dict[str, Any]) -> dict[str, Any]:
    """What an event says but for its place, its time and its request."""
    own = ("id", "meta", "sequence", "occurred", "requestId", "previousHash", "hash", "dryRun")
    return {name: value for name, value in event.items() if name not in own}


class TestTheAnswerIsAsIfItHadWorked:
    def test_a_new_user_is_answered_and_is_not_there(self, rehearsal: Rehearsal) -> None:
        answer = rehearsal.dry.post("/Users", json=user_body("alice", title="Boss"))
        alice = answered(answer, 201)
        assert (alice["userName"], alice["title"]) == ("alice", "Boss")
        assert answer.headers["Location"].endswith(f"/dry/scim/v2/Users/{alice['id']}")
        assert answer.headers["ETag"] == 'W/"1"'
        refused(rehearsal.dry.get(f"/Users/{alice['id']}"), 404)
        assert not is_there(rehearsal.real.scim, alice["id"])
        assert rehearsal.real.consumers() == []
        assert new_user(rehearsal.real.scim, "alice")["id"] != alice["id"]

    def test_a_user_who_is_disabled_keeps_everything(self, rehearsal: Rehearsal) -> None:
        real = rehearsal.real
        alice = new_user(real.scim, "alice")["id"]
        new_group(real.scim, alice, name="employees")
        key = real.give_key("alice")
        before = get(real.scim, f"/Users/{alice}")
        answer = answered(patch(rehearsal.dry, f"/Users/{alice}", DEACTIVATE), 200)
        assert answer["active"] is False
        assert get(real.scim, f"/Users/{alice}") == before
        assert real.call(key).status_code == 200
        assert real.groups_of("alice") == {"employees"}

    def test_a_user_or_a_group_that_is_deleted_is_still_there(self, rehearsal: Rehearsal) -> None:
        real = rehearsal.real
        alice = new_user(real.scim, "alice")["id"]
        staff = new_group(real.scim, alice)["id"]
        assert rehearsal.dry.delete(f"/Groups/{staff}").status_code == 204
        assert rehearsal.dry.delete(f"/Users/{alice}").status_code == 204
        assert members_of(real.scim, staff) == {alice}
        assert real.consumer("alice") is not None

    def test_members_are_added_and_removed_and_stay_who_they_are(
        self, rehearsal: Rehearsal
    ) -> None:
        real = rehearsal.real
        alice, bob = (new_user(real.scim, name)["id"] for name in ("alice", "bob"))
        staff = new_group(real.scim, alice, name="staff")["id"]
        add = {"op": "add", "path": "members", "value": [{"value": bob}]}
        remove = {"op": "remove", "path": f'members[value eq "{alice}"]'}
        assert patch(rehearsal.dry, f"/Groups/{staff}", add, remove).status_code == 204
        assert members_of(real.scim, staff) == {alice}
        assert (real.groups_of("alice"), real.groups_of("bob")) == ({"staff"}, set())
        event = last(real, staff)
        assert (event["joined"], event["left"]) == ([bob], [alice])
        assert (event["versionBefore"], event["versionAfter"]) == (1, 2)

    def test_each_operation_of_a_bulk_request_is_answered(self, rehearsal: Rehearsal) -> None:
        (alice,) = crowd(rehearsal.real, 1)
        operations = [
            {"method": "DELETE", "path": f"/Users/{alice}"},
            {"method": "POST", "path": "/Users", "bulkId": "b", "data": user_body()},
        ]
        body = {"schemas": [BULK], "Operations": operations}
        done = answered(rehearsal.dry.post("/Bulk", json=body), 200)["Operations"]
        assert [each["status"] for each in done] == ["204", "201"]
        assert get(rehearsal.real.scim, "/Users")["totalResults"] == 1

    @pytest.mark.parametrize("path", ["/Users", "/Users/nobody", "/ServiceProviderConfig"])
    def test_every_answer_says_that_it_is_one(self, rehearsal: Rehearsal, path: str) -> None:
        assert rehearsal.dry.get(path).headers["Kong-SCIM-Dry-Run"] == "true"
        assert "Kong-SCIM-Dry-Run" not in rehearsal.real.scim.get(path).headers

    def test_so_does_a_refusal_of_the_token(self, rehearsal: Rehearsal) -> None:
        answer = httpx.get(f"{rehearsal.dry.base_url}/Users")
        assert (answer.status_code, answer.headers["Kong-SCIM-Dry-Run"]) == (401, "true")


class TestWhatWouldBeRefusedIsRefused:
    def test_by_the_directory_and_by_kong(self, rehearsal: Rehearsal) -> None:
        real, dry = rehearsal.real, rehearsal.dry
        alice = new_user(real.scim, "alice")["id"]
        real.new_consumer(username="root")
        count = len(events(real))
        taken = dry.post("/Users", json=user_body("ALICE"))
        refused(taken, 409, "uniqueness")
        refused(dry.post("/Users", json=user_body("root")), 409, "uniqueness")
        refused(dry.delete(f"/Users/{alice}", headers={"If-Match": 'W/"7"'}), 412)
        refused(dry.post("/Users", json={"schemas": []}), 400, "invalidValue")
        refused(dry.delete("/Users/nobody"), 404)
        assert len(events(real)) == count

    def test_by_the_quarantine_which_a_dry_run_neither_begins_nor_counts(
        self, rehearsal: Rehearsal
    ) -> None:
        real, dry = rehearsal.real, rehearsal.dry
        people = crowd(real, 6)
        assert gone(dry, people) == [204] * 6
        assert standing(real)["gone"] == 0
        assert gone(real.scim, people[:3]) == [204] * 3
        assert "3 of 6 users" in refused(dry.delete(f"/Users/{people[3]}"), 409)
        assert standing(real)["state"] == "open"
        assert gone(real.scim, people[3:4]) == [409]
        before = standing(real)
        refused(dry.delete(f"/Users/{people[3]}"), 409)
        assert standing(real) == before


class TestTheTrailSaysWhatWouldHaveHappened:
    def test_the_event_is_the_one_of_the_real_thing(self, rehearsal: Rehearsal) -> None:
        """Credentials counted, groups named, versions as they would be."""
        real = rehearsal.real
        alice = new_user(real.scim, "alice")["id"]
        new_group(real.scim, alice, name="staff")
        real.give_key("alice")
        patched_user(rehearsal.dry, alice, DEACTIVATE)
        rehearsed = last(real, alice)
        patched_user(real.scim, alice, DEACTIVATE)
        done = last(real, alice)
        assert rehearsed["dryRun"] is True
        assert "dryRun" not in done
        assert said(rehearsed) == said(done)
        assert done["credentials"] == [{"kind": "keyauth_credentials", "count": 1}]

    def test_so_is_that_of_a_write_that_only_repairs(self, rehearsal: Rehearsal) -> None:
        real = rehearsal.real
        alice = new_user(real.scim, "alice", active=False)["id"]
        patched_user(rehearsal.dry, alice, DEACTIVATE)
        assert len(events(real, alice)) == 1
        real.give_key("alice")
        patched_user(rehearsal.dry, alice, DEACTIVATE)
        assert last(real, alice)["credentials"] == [{"kind": "keyauth_credentials", "count": 1}]
        assert real.admin.get("/consumers/alice/key-auth").json()["data"] != []

    def test_the_audit_names_it(self, rehearsal: Rehearsal) -> None:
        real = rehearsal.real
        alice = new_user(real.scim, "alice")["id"]
        rehearsal.dry.delete(f"/Users/{alice}")
        last(real, alice)
        options = ["--scim-url", real.scim_base, "--token", real.token]
        shown = CliRunner().invoke(main, ["audit", *options, "--user", alice])
        created, deleted = shown.output.splitlines()
        assert "dry run" not in created
        assert "dry run:  delete  User" in deleted
        filtered = get(real.scim, "/Events", filter=f'resourceId eq "{alice}" and dryRun eq true')
        assert filtered["totalResults"] == 1
        verified = CliRunner().invoke(main, ["audit", *options, "verify"])
        assert verified.output.startswith("ok: "), verified.output

    def test_no_webhook_is_told(self, gateway_with: Callable[..., Gateway]) -> None:
        webhook = {"name": "hr", "url": "https://hr.invalid/", "secret": "s"}
        gateway = gateway_with(dry_run=True, events={"webhooks": [webhook]})
        alice = answered(gateway.scim.post("/Users", json=user_body()), 201)["id"]
        assert last(gateway, alice)["dryRun"] is True
        assert gateway.scim.get("/Events/deliveries").json() == {"deliveries": []}

    def test_it_is_in_the_log_as_what_it_is(self, gateway_with: Callable[..., Gateway]) -> None:
        gateway = gateway_with(dry_run=True)
        if gateway.host.name.startswith("kong"):
            pytest.skip("Kong's own log is not the plugin server's")
        gateway.scim.post("/Users", json=user_body())
        assert '"dry_run": true' in gateway.host.log()
