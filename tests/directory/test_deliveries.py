"""Deliveries in the database, as several nodes see them."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from deliveries_support import NOON, World

from kong_scim.bridge import Sql
from kong_scim.directory.database import Database


@pytest.fixture
def world(database: Database) -> World:
    return World(database, "hr")


class TestClaims:
    def test_each_is_claimed_once_until_its_lease_ends(self, world: World) -> None:
        for _ in range(3):
            world.person()
        first, second = world.claim(limit=2), world.claim(limit=2)
        assert (len(first), len(second)) == (2, 1)
        assert world.claim() == []
        again = world.claim(now=NOON + timedelta(seconds=31))
        assert [each.attempts for each in again] == [2, 2, 2]

    def test_of_one_resource_only_the_first_is_claimed(self, world: World) -> None:
        world.person(changes=2)
        versions = []
        for _ in range(3):
            (only,) = world.claim()
            assert world.claim() == []
            versions.append(only.event["versionAfter"])
            world.finish(only)
        assert versions == [1, 2, 3]

    def test_what_failed_holds_up_its_resource_until_it_is_due(self, world: World) -> None:
        held, other = world.person(changes=1), world.person()
        first = world.claim()[0]
        world.finish(first, "pending", NOON + timedelta(minutes=1))
        assert {each.event["resourceId"] for each in world.claim()} <= {other}
        (again,) = [
            each
            for each in world.claim(now=NOON + timedelta(minutes=2))
            if each.event["resourceId"] == held
        ]
        assert again.number == first.number

    def test_nodes_that_claim_at_the_same_moment_share_the_work(
        self, postgres_database: Any
    ) -> None:
        world = World(postgres_database, "hr")
        people = {world.person() for _ in range(40)}
        got: list[Any] = []
        start = threading.Barrier(4)

        def node() -> None:
            start.wait()
            while claimed := world.claim(limit=3):
                got.extend(claimed)

        nodes = [threading.Thread(target=node) for _ in range(4)]
        for each in nodes:
            each.start()
        for each in nodes:
            each.join()
        assert len({each.number for each in got}) == len(got)
        # one that skipped what another was looking at may end early, and leaves it for the next
        got.extend(world.claim(limit=40))
        assert sorted(each.event["resourceId"] for each in got) == sorted(people)

    def test_targets_do_not_wait_for_each_other(self, database: Database) -> None:
        world = World(database, "hr", "siem")
        world.person(changes=1)
        (to_hr,) = world.claim()
        world.finish(to_hr, "pending", NOON + timedelta(days=1))
        for _ in range(2):
            (to_siem,) = world.claim(target="siem")
            world.finish(to_siem)
        assert world.states() == ["pending", "delivered", "pending", "delivered"]

    def test_another_tenant_has_none_of_it(self, database: Database) -> None:
        World(database, "hr").person()
        assert World(database, "hr").claim() == []


class TestTheEnd:
    def test_what_is_too_old_is_given_up_and_lets_the_next_one_go(self, world: World) -> None:
        world.person(changes=1)
        (first,) = world.claim()
        late = NOON + timedelta(days=3)
        assert world.deliveries.give_up_old(NOON, late) == 0
        world.db.commit(
            [
                Sql(
                    "UPDATE scim_deliveries SET created = '2025' WHERE number = $1",
                    (first.number,),
                )
            ]
        )
        assert world.deliveries.give_up_old(NOON, NOON) == 0  # somebody is trying
        assert world.deliveries.give_up_old(NOON, late) == 1
        (following,) = world.claim(now=late)
        assert following.event["versionAfter"] == 2

    def test_what_was_given_up_can_be_sent_again(self, world: World) -> None:
        world.person(changes=1)
        (first,) = world.claim()
        world.finish(first, "dead")
        (second,) = world.claim()
        world.finish(second)
        assert world.states() == ["dead", "delivered"]
        assert world.deliveries.replay(None, NOON) == 1
        assert world.deliveries.replay([second.number, 10**12], NOON) == 1
        assert world.states() == ["pending", "pending"]

    def test_a_late_answer_does_not_undo_what_another_node_knows(self, world: World) -> None:
        world.person()
        (delivery,) = world.claim()
        world.finish(delivery)
        world.finish(delivery, "pending", NOON + timedelta(days=1))
        (shown,) = world.deliveries.page(state=None, after=0, limit=10)
        assert shown["state"] == "delivered"
        assert [each["status"] for each in shown["attempts"]] == [200, 500]

    def test_deliveries_go_with_their_event(self, world: World) -> None:
        world.person()
        (delivery,) = world.claim()
        world.trail.drop(NOON + timedelta(days=10_000))
        assert world.states() == []
        world.finish(delivery)  # the answer that comes after that is nobody's
        assert world.states() == []
