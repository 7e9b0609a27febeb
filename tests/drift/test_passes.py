"""The pass in the background: when it runs, on which node, and what it finds and mends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from node_of_tenant import TenantOnNode

from kong_scim.bridge import Delete, Upsert
from kong_scim.sync import drift_pass
from lua_node import LuaNode


@pytest.fixture(params=["database", "memory"])
def tenant(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TenantOnNode]:
    """A tenant on a node with a database, and on one without."""
    node = LuaNode(tmp_path / "kong.sqlite", dbless=request.param == "memory")
    yield TenantOnNode(node, tmp_path / "data")
    node.store.close()


def lost(tenant: TenantOnNode, *users: str) -> None:
    """Delete consumers by hand."""
    tenant.by_hand(*(Delete("consumers", user) for user in users))


class TestWhenItRuns:
    def test_it_runs_at_the_start_and_then_at_intervals(self, tenant: TenantOnNode) -> None:
        tenant.users(3)
        instance = tenant.instance()
        instance.run()
        first = tenant.last_pass()
        assert first is not None
        assert (first["people"], first["by"]) == (3, "n1")
        for _ in range(14):
            tenant.clock.forward(minutes=1)
            instance.tick()
        assert tenant.last_pass() == first
        tenant.clock.forward(minutes=1)
        instance.run()

    def test_it_never_runs_with_an_interval_of_0(self, tenant: TenantOnNode) -> None:
        instance = tenant.instance(reconcile={"every": 0})
        for _ in range(3):
            instance.tick()
            tenant.clock.forward(hours=1)
        assert tenant.last_pass() is None

    def test_another_mapping_begins_it_at_once_and_any_other_change_does_not(
        self, tenant: TenantOnNode
    ) -> None:
        tenant.users(1)
        tenant.instance().run()
        first = tenant.last_pass()
        for config in ({"max_results": 7}, {"reconcile": {"mode": "mend"}}):
            tenant.instance(**config).tick()
            assert tenant.last_pass() == first
        tenant.clock.forward(seconds=1)
        tenant.instance(groups={"prefix": "new:"}).run()

    def test_a_clock_that_went_back_does_not_stop_it(self, tenant: TenantOnNode) -> None:
        tenant.instance().run()
        tenant.clock.forward(days=-30)
        tenant.instance().run()


class TestOneNode:
    def test_does_it_and_the_others_leave_it_alone(
        self, tenant: TenantOnNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drift_pass, "BATCH", 1)
        monkeypatch.setattr(drift_pass, "CPU", 0)
        tenant.users(4)
        first, second = tenant.instance("n1"), tenant.instance("n2")
        first.tick()  # takes the lease, and has done nothing yet
        for _ in range(3):
            tenant.clock.forward(seconds=15)
            second.tick()
            first.tick()
        assert tenant.last_pass() is None
        monkeypatch.setattr(drift_pass, "CPU", 1)
        tenant.clock.forward(seconds=5)
        first.tick()
        found = tenant.last_pass()
        assert found is not None
        assert (found["by"], found["people"]) == ("n1", 4)

    def test_is_followed_by_another_where_it_stopped(
        self, tenant: TenantOnNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drift_pass, "BATCH", 2)
        users = tenant.users(6)
        lost(tenant, *users)
        first, second = tenant.instance("n1"), tenant.instance("n2")
        begun = tenant.clock.now()
        parts = iter(range(2))
        monkeypatch.setattr(drift_pass.time, "thread_time", lambda: float(next(parts, 1)))
        monkeypatch.setattr(drift_pass, "CPU", 0.5)
        first.tick()
        tenant.clock.forward(seconds=90)
        monkeypatch.undo()
        second.run()
        found = tenant.last_pass()
        assert found is not None
        assert (found["by"], found["people"]) == ("n2", 6)
        assert found["begun"] == begun.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert tenant.known() == {"consumer_missing": 6}


class TestWhatItFinds:
    def test_is_an_event_once_and_known_since_then(self, tenant: TenantOnNode) -> None:
        users = tenant.users(3)
        instance = tenant.instance()
        instance.run()
        assert tenant.events() == []
        lost(tenant, *users[:2])
        for _ in range(2):
            tenant.clock.forward(minutes=16)
            instance.run()
        ((operation, detail),) = tenant.events()
        assert (operation, "2 consumer_missing" in detail) == ("found", True)
        assert tenant.known() == {"consumer_missing": 2}
        since = tenant.provisioning().drift_tools().state.since(instance.found())
        (moment,) = set(since.values())
        assert (moment[:16], len(since)) == ("2026-01-01T00:16", 2)

    def test_is_forgotten_when_somebody_else_mended_it(self, tenant: TenantOnNode) -> None:
        (user,) = tenant.users(1)
        lost(tenant, user)
        instance = tenant.instance()
        instance.run()
        made = tenant.provisioning()
        list(made.reconciler(drift_pass.ACTOR).mend(instance.found()))
        assert instance.found() == []
        tenant.clock.forward(minutes=16)
        instance.run()
        assert tenant.known() == {}

    def test_is_mended_where_that_is_configured(self, tenant: TenantOnNode) -> None:
        users = tenant.users(12)
        tenant.group("g", users)
        lost(tenant, *users[:7])
        acl = {"id": users[0], "group": "extra", "consumer": {"id": users[8]}}
        tenant.by_hand(Upsert("acls", {**acl, "tags": ["scim", "scim:a"]}, unless_present=True))
        instance = tenant.instance(reconcile={"mode": "mend"})
        instance.run()
        assert instance.found() == []
        assert tenant.known() == {}
        found = tenant.last_pass()
        assert found is not None
        assert (found["people"], found["mended"], found["failed"]) == (12, 8, 0)
        assert [operation for operation, _ in tenant.events()] == ["mended"]
        for user in users:
            consumer = tenant.consumer(user)
            assert consumer is not None
            assert [each.group for each in consumer.acls] == ["g"]

    def test_is_not_mended_in_a_dry_run(self, tenant: TenantOnNode) -> None:
        (user,) = tenant.users(1)
        lost(tenant, user)
        tenant.instance(reconcile={"mode": "mend"}, dry_run=True).run()
        assert tenant.known() == {"consumer_missing": 1}
        assert tenant.consumer(user) is None

    def test_of_another_mapping_is_that_the_mapping_changed(self, tenant: TenantOnNode) -> None:
        (user,) = tenant.users(1)
        tenant.group("g", [user])
        other = {"groups": {"prefix": "new:"}}
        (found,) = tenant.instance(**other).found()
        (difference,) = found.differences
        shown = (difference.kind, difference.wanted, difference.found)
        assert shown == ("mapping_changed", "new:g", "g")
        tenant.instance(**other, reconcile={"mode": "mend"}).run()
        assert tenant.instance(**other).found() == []
