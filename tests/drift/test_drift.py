"""What drift shows and mends, at the endpoint and by the command line, on every host."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from drift_support import (
    change_consumer,
    command,
    drift,
    give_group,
    kinds,
    lines,
    only_with_a_database,
    people,
    previewed,
    reconciled,
    take_group,
)

from hosts import Gateway
from outbox import events
from scim_traffic import new_group, new_user, patched_user, refused, unique

DEACTIVATE = {"op": "replace", "value": {"active": False}}


class TestNothingIsFound:
    def test_where_nobody_changed_anything(self, gateway: Gateway) -> None:
        ann, bob = new_user(gateway.scim, externalId="7"), new_user(gateway.scim)
        new_group(gateway.scim, ann["id"], bob["id"])
        patched_user(gateway.scim, bob["id"], DEACTIVATE)
        assert drift(gateway.scim) == []
        assert reconciled(gateway.scim) == []
        assert command(gateway, "drift").exit_code == 0

    def test_of_what_another_tenant_has(self, gateway: Gateway) -> None:
        only_with_a_database(gateway)
        gateway.admin.delete(f"/consumers/{new_user(gateway.other_scim)['id']}")
        assert drift(gateway.scim) == []
        assert [each["kind"] for each in drift(gateway.other_scim)] == ["consumer_missing"]

    def test_of_a_key_that_a_suspended_user_may_keep(
        self, gateway_with: Callable[..., Gateway]
    ) -> None:
        suspending = gateway_with(on_deactivate="suspend")
        user = new_user(suspending.scim)["id"]
        suspending.give_key(user)
        patched_user(suspending.scim, user, DEACTIVATE)
        assert drift(suspending.scim) == []


class TestADifference:
    def test_says_what_is_wanted_what_was_found_and_what_mends_it(self, gateway: Gateway) -> None:
        only_with_a_database(gateway)
        user = new_user(gateway.scim)
        change_consumer(gateway, user["id"], username="somebody")
        (found,) = drift(gateway.scim)
        mend = found.pop("mend")
        assert "name back" in mend
        assert found == {
            "user": user["id"],
            "userName": user["userName"],
            "kind": "consumer_renamed",
            "wanted": user["userName"],
            "found": "somebody",
            "since": None,
        }

    def test_is_shown_of_one_user_or_of_one_kind(self, gateway: Gateway) -> None:
        only_with_a_database(gateway)
        ann, bob, cleo = (new_user(gateway.scim)["id"] for _ in range(3))
        new_group(gateway.scim, ann, name="g")
        change_consumer(gateway, ann, username="somebody")
        take_group(gateway, ann, "g")
        gateway.admin.delete(f"/consumers/{bob}")
        renamed, missing, lost = (
            (ann, "consumer_renamed"),
            (ann, "group_missing"),
            (bob, "consumer_missing"),
        )
        assert kinds(gateway.scim) == {renamed, missing, lost}
        assert kinds(gateway.scim, user=ann) == {renamed, missing}
        assert kinds(gateway.scim, user=cleo) == set()
        assert kinds(gateway.scim, kind="group_missing") == {missing}
        assert kinds(gateway.scim, kind="group_missing", user=bob) == set()

    def test_of_many_is_read_in_parts(self, gateway: Gateway) -> None:
        only_with_a_database(gateway)
        users = people(gateway.scim, 7)
        for user in users:
            gateway.admin.delete(f"/consumers/{user}")
        assert kinds(gateway.scim, count=3) == {(user, "consumer_missing") for user in users}
        part = get_part(gateway, count=3)
        assert (len(part["differences"]), part["total"]) == (3, 3)

    def test_of_a_name_that_somebody_else_has_by_now_cannot_be_mended(
        self, gateway: Gateway
    ) -> None:
        only_with_a_database(gateway)
        user = new_user(gateway.scim)
        gateway.admin.delete(f"/consumers/{user['id']}")
        stranger = gateway.new_consumer(username=user["userName"])
        (found,) = drift(gateway.scim)
        assert found["kind"] == "consumer_taken"
        (result,) = reconciled(gateway.scim)
        assert (result["result"], result["detail"]) == ("failed", found["mend"])
        assert gateway.consumer(stranger["id"]) == stranger

    def test_of_a_consumer_with_the_tags_of_another_tenant_is_left_alone(
        self, gateway: Gateway
    ) -> None:
        only_with_a_database(gateway)
        user = new_user(gateway.scim)["id"]
        change_consumer(gateway, user, tags=["scim", "scim:b", f"scim-user:{uuid.uuid4()}"])
        before = gateway.consumer(user)
        assert kinds(gateway.scim) == {(user, "consumer_taken")}
        assert [each["result"] for each in reconciled(gateway.scim)] == ["failed"]
        assert gateway.consumer(user) == before

    def test_of_a_consumer_that_scim_did_not_make_is_left_alone_whatever_its_tags(
        self, gateway: Gateway
    ) -> None:
        only_with_a_database(gateway)
        gone = str(uuid.uuid4())
        tags = ["scim", "scim:a", f"scim-user:{gone}"]
        stranger = gateway.new_consumer(username=unique("stranger"), tags=tags)
        assert kinds(gateway.scim) == {(gone, "consumer_orphaned")}
        assert [each["result"] for each in reconciled(gateway.scim)] == ["failed"]
        assert gateway.consumer(stranger["id"]) == stranger

    def test_of_a_declared_consumer_stays_until_it_is_gone(self, gateway: Gateway) -> None:
        if not gateway.host.dbless:
            pytest.skip("only a DB-less Kong has declared consumers")
        user = new_user(gateway.scim)
        gateway.content["consumers"] = [{"username": user["userName"]}]
        gateway.declare()
        assert kinds(gateway.scim) == {(user["id"], "consumer_taken")}
        assert [each["result"] for each in reconciled(gateway.scim)] == ["failed"]
        del gateway.content["consumers"]
        gateway.declare()
        assert drift(gateway.scim) == []
        assert gateway.consumer(user["id"])


class TestMending:
    def test_of_one_user_leaves_the_others(self, gateway: Gateway) -> None:
        only_with_a_database(gateway)
        ann, bob = people(gateway.scim, 2)
        for user in (ann, bob):
            gateway.admin.delete(f"/consumers/{user}")
        assert [each["result"] for each in reconciled(gateway.scim, user=ann)] == ["mended"]
        assert kinds(gateway.scim) == {(bob, "consumer_missing")}

    def test_in_a_dry_run_changes_nothing(self, gateway: Gateway) -> None:
        only_with_a_database(gateway)
        (user,) = people(gateway.scim, 1)
        gateway.admin.delete(f"/consumers/{user}")
        results = reconciled(gateway.scim, dryRun=True)
        assert [each["result"] for each in results] == ["would be mended"]
        assert gateway.consumer(user) is None

    def test_is_an_event_of_the_user(self, gateway: Gateway) -> None:
        only_with_a_database(gateway)
        user = new_user(gateway.scim)["id"]
        new_group(gateway.scim, user, name="g")
        take_group(gateway, user, "g")
        give_group(gateway, user, "extra", "scim", "scim:a")
        reconciled(gateway.scim)
        *_, event = events(gateway, user)
        (access,) = event["users"]
        assert (event["operation"], event["actor"]) == ("reconcile", "idp")
        assert (access["added"], access["removed"]) == (["g"], ["extra"])

    def test_by_two_at_once_is_done_once(self, gateway: Gateway) -> None:
        only_with_a_database(gateway)
        users = people(gateway.scim, 8)
        new_group(gateway.scim, *users, name="g")
        for user in users:
            take_group(gateway, user, "g")
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda _: reconciled(gateway.scim), range(4)))
        assert {each["result"] for results in done for each in results} == {"mended"}
        assert drift(gateway.scim) == []
        repaired = [
            each["resourceId"]
            for each in events(gateway)
            if each["operation"] == "reconcile" and each["resourceId"] in users
        ]
        assert sorted(repaired) == sorted(users)

    def test_that_takes_too_much_access_away_is_held_back(
        self, gateway_with: Callable[..., Gateway]
    ) -> None:
        cautious = gateway_with(quarantine={"memberships": 3})
        only_with_a_database(cautious)
        users = people(cautious.scim, 5)
        tag = f"scim:{tenant(cautious)}"
        for user in users:
            give_group(cautious, user, "extra", "scim", tag)
        results = [each["result"] for each in reconciled(cautious.scim)]
        assert (results.count("mended"), results.count("held")) == (3, 2)
        assert command(cautious, "reconcile").exit_code == 1
        cautious.decide("approve")
        assert [each["result"] for each in reconciled(cautious.scim)] == ["mended"] * 2
        assert drift(cautious.scim) == []

    def test_while_the_provider_writes_ends_as_the_provider_says(self, gateway: Gateway) -> None:
        only_with_a_database(gateway)
        users = people(gateway.scim, 6)
        for user in users:
            change_consumer(gateway, user, username=unique("other"))
        with ThreadPoolExecutor(4) as pool:
            writes = [pool.submit(patched_user, gateway.scim, each, DEACTIVATE) for each in users]
            reads = [pool.submit(kinds, gateway.scim) for _ in range(4)]
            mends = [pool.submit(reconciled, gateway.scim) for _ in range(2)]
            for each in (*writes, *reads, *mends):
                each.result()
        assert drift(gateway.scim) == []
        assert all("scim:suspended" in gateway.consumer(each)["tags"] for each in users)


MAPPING = {"groups": {"prefix": "new:"}, "consumer": {"username": "displayName"}}


class TestAnotherConfiguration:
    def test_is_shown_before_it_is_loaded(self, gateway: Gateway) -> None:
        ann = new_user(gateway.scim, displayName=unique("Ann"))
        bob = new_user(gateway.scim)
        group = new_group(gateway.scim, ann["id"])["displayName"]
        new_user(gateway.scim, active=False, displayName=unique("Cleo"))
        changes = {each["user"]: each for each in previewed(gateway.scim, MAPPING, count=1)}
        assert len(changes) == 3
        assert changes[ann["id"]] == {
            "user": ann["id"],
            "userName": ann["userName"],
            "before": ann["userName"],
            "after": ann["displayName"],
            "gains": [f"new:{group}"],
            "loses": [group],
        }
        assert changes[bob["id"]]["after"] is None
        assert "`displayName` is missing" in changes[bob["id"]]["error"]
        assert previewed(gateway.scim, {}) == []

    def test_is_as_configured_but_for_the_fields_of_groups_that_are_given(
        self, gateway_with: Callable[..., Gateway]
    ) -> None:
        config = {"pattern": "kong-(.+)", "allow": ["ops", "new:ops"]}
        scim = gateway_with(groups=config, consumer={"username": "displayName"}).scim
        name = unique("Ann")
        ann = new_user(scim, displayName=name)
        new_group(scim, ann["id"], name="kong-ops")
        answer = scim.post("/Drift/preview", json={"groups": {"prefix": "new:"}})
        (change,) = answer.raise_for_status().json()["changes"]
        assert (change["before"], change["after"]) == (name, name)
        assert (change["gains"], change["loses"]) == (["new:ops"], ["ops"])
        for body in ({}, {"groups": {}, "config": {}}, {"groups": {"nope": 1}}):
            refused(scim.post("/Drift/preview", json=body), 400, "invalidValue")

    @pytest.mark.parametrize("section", ["groups", "config"])
    def test_with_an_expression_that_takes_too_long_is_refused(
        self, gateway: Gateway, section: str
    ) -> None:
        new_group(gateway.scim, new_user(gateway.scim)["id"], name="a" * 40)
        groups = {"pattern": "(a+)+b"}
        body = {"groups": groups} if section == "groups" else {"config": {"groups": groups}}
        detail = refused(gateway.scim.post("/Drift/preview", json=body), 400, "invalidValue")
        assert "takes too long" in detail

    def test_is_read_from_a_declarative_file(self, gateway: Gateway, tmp_path: Path) -> None:
        user = new_user(gateway.scim)
        group = new_group(gateway.scim, user["id"])["displayName"]
        file = tmp_path / "new.yml"
        plugin = {"name": "scim", "config": {"tenant": "a", "groups": {"prefix": "new:"}}}
        file.write_text(yaml.safe_dump({"routes": [{"name": "r", "plugins": [plugin]}]}))
        result = command(gateway, "drift", "--config", str(file), "--json")
        assert result.exit_code == 1
        assert [each["gains"] for each in lines(result)] == [[f"new:{group}"]]
        shown = command(gateway, "drift", "--config", str(file)).stdout
        assert user["userName"] in shown
        assert "1 of 1 users would change" in shown
        assert command(gateway, "drift", "--config", str(file), "--tenant", "b").exit_code == 2

    @pytest.mark.parametrize(
        "config", [{"groups": {"pattern": "("}}, {"consumer": {"username": "nope"}}, {"roles": 1}]
    )
    def test_that_cannot_work_is_refused_by_name(
        self, gateway: Gateway, config: dict[str, object]
    ) -> None:
        answer = gateway.scim.post("/Drift/preview", json={"config": config})
        assert f"config.{next(iter(config))}" in refused(answer, 400, "invalidValue")


class TestTheCommandLine:
    def test_shows_a_table_and_mends_with_one(self, gateway: Gateway) -> None:
        only_with_a_database(gateway)
        user = new_user(gateway.scim)
        gateway.admin.delete(f"/consumers/{user['id']}")
        found = command(gateway, "drift")
        assert found.exit_code == 1
        assert user["userName"] in found.stdout
        assert "1 differences: 1 consumer_missing" in found.stdout
        assert [each["kind"] for each in lines(command(gateway, "drift", "--json"))] == [
            "consumer_missing"
        ]
        rehearsed = command(gateway, "reconcile", "--dry-run")
        assert (rehearsed.exit_code, "1 would be mended" in rehearsed.stdout) == (1, True)
        mended = command(gateway, "reconcile", "--user", user["userName"])
        assert (mended.exit_code, "1 mended" in mended.stdout) == (0, True)
        assert command(gateway, "reconcile").stdout == "nothing to mend\n"

    def test_ends_with_2_where_it_could_not_look(self, gateway: Gateway) -> None:
        for arguments in (("drift",), ("reconcile",), ("drift", "--user", "nobody")):
            away = command(gateway, *arguments, *_away(arguments))
            assert away.exit_code == 2, away.output


def _away(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return () if "nobody" in arguments else ("--scim-url", "http://127.0.0.1:9/scim/v2")


class TestBadInput:
    @pytest.mark.parametrize(
        "query",
        [
            {"kind": "none"},
            {"count": "many"},
            {"cursor": "x"},
            {"cursor": "WyJ1c2VycyIsIDEsIHt9XQ=="},
            {"cursor": "WyJvdGhlcnMiLCAiIiwge31d"},
        ],
    )
    def test_is_refused_with_a_sentence(self, gateway: Gateway, query: dict[str, str]) -> None:
        refused(gateway.scim.get("/Drift", params=query), 400, "invalidValue")

    @pytest.mark.parametrize("body", [{"dryRun": 1}, {"user": 7}, {"cursor": ["x"]}])
    def test_in_a_body_is_refused_too(self, gateway: Gateway, body: dict[str, object]) -> None:
        refused(gateway.scim.post("/Drift", json=body), 400, "invalidValue")
        refused(gateway.scim.post("/Drift", content=json.dumps([body])), 400, "invalidSyntax")

    def test_of_a_user_that_is_not_there(self, gateway: Gateway) -> None:
        for name in ("nobody", str(uuid.uuid4())):
            refused(gateway.scim.get("/Drift", params={"user": name}), 404)
            refused(gateway.scim.post("/Drift", json={"user": name}), 404)

    def test_of_another_method(self, gateway: Gateway) -> None:
        refused(gateway.scim.put("/Drift", json={}), 405)
        refused(gateway.scim.get("/Drift/preview"), 405)


def get_part(gateway: Gateway, **query: int) -> dict:
    answer = gateway.scim.get("/Drift", params=query)
    assert answer.status_code == 200
    return answer.json()


def tenant(gateway: Gateway) -> str:
    """Return the tenant of a gateway, from the tags of a consumer."""
    (tag,) = {
        tag
        for consumer in gateway.consumers()
        for tag in consumer["tags"]
        if tag.startswith("scim:") and tag != "scim:suspended"
    }
    return tag.removeprefix("scim:")
