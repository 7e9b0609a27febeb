"""The events that an identity provider's requests leave, on every host."""

from __future__ import annotations

from typing import Any

import pytest

from hosts import Gateway
from outbox import events
from scim_traffic import BULK, answered, new_group, new_user, patch, patched_user, refused


def written(event: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(each["operation"], each["kind"]): each["count"] for each in event["entities"]}


class TestAUser:
    def test_it_tells_which_consumer_was_made_and_who_asked(self, gateway: Gateway) -> None:
        answer = gateway.scim.post(
            "/Users",
            json={
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                "userName": "alice",
                "roles": [{"value": "admin"}],
            },
        )
        alice = answered(answer, 201)["id"]
        (event,) = events(gateway, alice)
        assert (event["actor"], event["address"]) == ("idp", "127.0.0.1")
        assert event["requestId"]
        assert written(event) == {("upsert", "consumers"): 1, ("upsert", "acls"): 1}
        (user,) = event["users"]
        consumer = gateway.consumer("alice")
        assert consumer is not None
        assert user == {
            "value": alice,
            "consumer": consumer["id"],
            "added": ["role:admin"],
            "suspended": False,
        }

    def test_a_deactivation_tells_how_many_credentials_it_revoked(self, gateway: Gateway) -> None:
        alice = new_user(gateway.scim, "alice")["id"]
        new_group(gateway.scim, alice, name="staff")
        gateway.give_key("alice")
        gateway.give_key("alice")
        patched_user(gateway.scim, alice, {"op": "replace", "value": {"active": False}})
        event = events(gateway, alice)[-1]
        assert event["operation"] == "patch"
        assert event["actions"] == ["deactivate", "credentials-revoke"]
        assert event["credentials"] == [{"kind": "keyauth_credentials", "count": 2}]
        assert event["users"][0]["removed"] == ["staff"]
        assert event["users"][0]["suspended"] is True

    def test_a_deletion_tells_what_went_with_the_consumer(self, gateway: Gateway) -> None:
        alice = new_user(gateway.scim, "alice")["id"]
        gateway.give_key("alice")
        gateway.scim.delete(f"/Users/{alice}").raise_for_status()
        event = events(gateway, alice)[-1]
        assert event["operation"] == "delete"
        assert written(event) == {("delete", "consumers"): 1, ("delete", "keyauth_credentials"): 1}
        assert event["credentials"] == [{"kind": "keyauth_credentials", "count": 1}]

    def test_a_write_that_says_nothing_new_is_no_event_but_where_it_repairs(
        self, gateway: Gateway
    ) -> None:
        alice = new_user(gateway.scim, "alice", active=False)["id"]
        body: dict[str, Any] = {"op": "replace", "value": {"active": False}}
        patched_user(gateway.scim, alice, body)
        assert len(events(gateway, alice)) == 1
        gateway.give_key("alice")
        patched_user(gateway.scim, alice, body)
        repaired = events(gateway, alice)[-1]
        assert written(repaired) == {("revoke", "keyauth_credentials"): 1}
        assert repaired["versionBefore"] == repaired["versionAfter"]
        assert "attributes" not in repaired


class TestAGroup:
    def test_it_tells_whose_access_it_changed(self, gateway: Gateway) -> None:
        alice, bob = (new_user(gateway.scim, name)["id"] for name in ("alice", "bob"))
        staff = new_group(gateway.scim, alice, name="staff")["id"]
        answer = patch(
            gateway.scim,
            f"/Groups/{staff}",
            {"op": "add", "path": "members", "value": [{"value": bob}]},
            {"op": "remove", "path": f'members[value eq "{alice}"]'},
        )
        assert answer.status_code == 204
        event = events(gateway, staff)[-1]
        assert (event["joined"], event["left"]) == ([bob], [alice])
        told = {each["value"]: (each.get("added"), each.get("removed")) for each in event["users"]}
        assert told == {alice: (None, ["staff"]), bob: (["staff"], None)}
        assert written(event) == {("upsert", "acls"): 1, ("delete", "acls"): 1}


class TestHowMany:
    def test_a_bulk_request_is_an_event_for_each_operation_that_was_done(
        self, gateway: Gateway
    ) -> None:
        new_user(gateway.scim, "taken")
        before = len(events(gateway))
        operations = [
            {"method": "POST", "path": "/Users", "bulkId": name, "data": {"userName": name}}
            for name in ("alice", "taken", "bob")
        ]
        for each in operations:
            each["data"]["schemas"] = ["urn:ietf:params:scim:schemas:core:2.0:User"]  # type: ignore[index]
        answer = answered(
            gateway.scim.post("/Bulk", json={"schemas": [BULK], "Operations": operations}), 200
        )
        assert [each["status"] for each in answer["Operations"]] == ["201", "409", "201"]
        new = events(gateway)[before:]
        assert [each["operation"] for each in new] == ["create", "create"]
        assert len({each["requestId"] for each in new}) == 1

    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("POST", "/Users", {"userName": "alice"}, 409),
            ("POST", "/Groups", {"displayName": "x", "members": [{"value": "nobody"}]}, 400),
            ("DELETE", "/Users/nobody", None, 404),
        ],
    )
    def test_a_refused_write_leaves_none(
        self, gateway: Gateway, method: str, path: str, body: dict[str, Any] | None, status: int
    ) -> None:
        new_user(gateway.scim, "alice")
        before = events(gateway)
        if body is not None:
            kind = path.strip("/").removesuffix("s")
            body["schemas"] = [f"urn:ietf:params:scim:schemas:core:2.0:{kind}"]
        answer = gateway.scim.request(method, path, json=body)
        assert answer.status_code == status
        assert events(gateway) == before

    def test_a_write_that_kong_refuses_leaves_none(self, gateway: Gateway) -> None:
        gateway.new_consumer(username="taken")
        before = events(gateway)
        answer = gateway.scim.post(
            "/Users",
            json={
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                "userName": "taken",
            },
        )
        refused(answer, 409, "uniqueness")
        assert events(gateway) == before

    def test_events_of_one_tenant_are_not_the_others(self, gateway: Gateway) -> None:
        alice = new_user(gateway.other_scim, "alice")["id"]
        assert events(gateway, alice) == []
        assert len(events(gateway, alice, scim=gateway.other_scim)) == 1
