"""What a data plane and its control plane say to each other, without HTTP and without a Kong."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import issuer
from issuer import ISSUER
from kong_scim.bridge import (
    BRIDGE_VERSION,
    SUBJECTS,
    Bridge,
    BridgeUnavailableError,
    ControlPlaneAwayError,
    DatabaseDownError,
    Delete,
    Upsert,
)
from kong_scim.sync.subjects import FOREVER, digest
from kong_scim_sandbox import hybrid as sandbox_hybrid
from kong_scim_sandbox.entities import WORKSPACE
from kong_scim_sandbox.hybrid import DATA_PLANE, Hybrid

SUBJECT = {"issuer": ISSUER, "claim": "oid", "ignore_case": False}
PLUGINS: list[dict[str, Any]] = [
    {"id": "p1", "name": "scim", "enabled": True, "config": {"tenant": "a", "subjects": [SUBJECT]}},
    {"id": "p2", "name": "scim-bridge", "enabled": True},
]
SUSPENDED = "scim:suspended"
ASKED = 2.5
"""Seconds after which the control plane is asked, if the configuration contradicts a note."""


class Pair:
    """A control plane and a data plane, which gets its configuration only when it is told so."""

    def __init__(self, directory: Path) -> None:
        self.hybrid = Hybrid(directory / "control.sqlite", directory / "data.sqlite")
        for store in (self.hybrid.control_plane, self.hybrid.data_plane):
            store.bridge.configure(PLUGINS)
        self.data_plane = self.hybrid.data_plane.bridge
        self.data_plane.be_first()
        functions = {name: self._function(name) for name in ("query", "commit", "wake")}
        self.bridge = Bridge(SimpleNamespace(scim=SimpleNamespace(**functions)))

    def _function(self, name: str) -> Any:
        return lambda text: self.data_plane.call(name, text, {"node_id": "data"})[0]

    def write(self, consumer: str, *tags: str) -> None:
        """Write a consumer by a commit of the data plane."""
        entity = {"id": consumer, "username": f"user-{consumer}", "tags": list(tags)}
        self.bridge.commit([Upsert("consumers", entity)])

    def configure(self) -> None:
        """Send the configuration, and let the data plane review what it knows."""
        self.hybrid.copy_configuration()
        self.data_plane.run_timers(1.1)

    def hear(self, moment: float, *, revoked: list[str] = [], lifted: list[Any] = []) -> None:  # noqa: B006
        """Have the data plane hear a message of a control plane."""
        message = {"moment": moment, "revoked": revoked, "lifted": lifted, "subjects": []}
        self.data_plane.on_call("kong.scim.v1.access", "control_plane", json.dumps(message))

    def lets_in(self, consumer: str) -> bool:
        """Whether the guard of the data plane lets a consumer in."""
        outcome = self.data_plane.access(
            {"unknown_logins": "allow", "hide_identity_headers": False},
            {
                "node_id": "data",
                "method": "GET",
                "consumer": {"id": consumer},
                "credential": {"id": "k"},
            },
        )
        return "exit" not in outcome

    def set_subject(self, name: str, *, not_before: int, changed_at: int) -> None:
        """Say by a commit of the data plane which tokens that name somebody are refused."""
        entity = {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            "subject": digest(ISSUER, "oid", name),
            "tenant": "a",
            "user": name,
            "not_before": not_before,
            "changed_at": changed_at,
        }
        self.bridge.commit([Upsert(SUBJECTS, entity)])

    def accepts(self, name: str) -> bool:
        """Whether the guard of the data plane accepts a token that names somebody."""
        outcome = self.data_plane.access(
            {"unknown_logins": "allow", "hide_identity_headers": False, "claims": ["jwt"]},
            {"node_id": "data", "method": "GET", "token": issuer.token(oid=name)},
        )
        return "exit" not in outcome

    def call(self, **argument: Any) -> dict[str, Any]:
        """Call the control plane as a data plane does."""
        whole = {
            "id": str(uuid.uuid4()),
            "name": "query",
            "text": "{}",
            "version": BRIDGE_VERSION,
            "workspace": WORKSPACE,
            **argument,
        }
        control_plane = self.hybrid.control_plane.bridge
        answer = control_plane.on_call("kong.scim.v1.call", DATA_PLANE, json.dumps(whole))
        found: dict[str, Any] = json.loads(answer)["ok"]
        return found


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(sandbox_hybrid, "PAUSE", 3600)
    made = Pair(tmp_path)
    yield made
    made.hybrid.close()


@pytest.fixture
def consumer() -> str:
    return str(uuid.uuid4())


def test_a_data_plane_names_the_database_of_its_control_plane(pair: Pair) -> None:
    host = pair.bridge.wake().host
    assert (host.channel, host.database) == ("cluster", "sqlite")


def test_what_a_data_plane_commits_is_there_when_it_reads(pair: Pair, consumer: str) -> None:
    pair.write(consumer)
    [found] = pair.bridge.query(consumer_ids=[consumer]).consumers
    assert found.username == f"user-{consumer}"


def test_a_suspension_holds_before_the_configuration_has_it(pair: Pair, consumer: str) -> None:
    pair.write(consumer)
    pair.configure()
    assert pair.lets_in(consumer)
    pair.write(consumer, SUSPENDED)
    assert not pair.lets_in(consumer)
    pair.configure()
    assert not pair.lets_in(consumer)


def test_a_deletion_holds_before_the_configuration_has_it(pair: Pair, consumer: str) -> None:
    pair.write(consumer)
    pair.configure()
    pair.bridge.commit([Delete("consumers", consumer)])
    assert not pair.lets_in(consumer)


def test_who_has_access_again_is_let_in_when_the_configuration_has_it(
    pair: Pair, consumer: str
) -> None:
    pair.write(consumer)
    pair.configure()
    pair.write(consumer, SUSPENDED)
    pair.write(consumer, "scim-revoked-at:1")
    assert not pair.lets_in(consumer)
    pair.data_plane.run_timers(ASKED)
    assert not pair.lets_in(consumer)  # the configuration is still that from before
    pair.configure()
    assert pair.lets_in(consumer)


@pytest.mark.parametrize("first", [1, 2])
def test_of_two_messages_the_later_one_counts_in_whatever_order_they_come(
    pair: Pair, consumer: str, first: int
) -> None:
    pair.write(consumer)
    pair.configure()
    for moment in (first, 3 - first):
        if moment == 1:
            pair.hear(1, revoked=[consumer])
        else:
            pair.hear(2, lifted=[{"id": consumer, "tags": ""}])
    pair.data_plane.run_timers(1.1)
    assert pair.lets_in(consumer)
    pair.hear(3, revoked=[consumer])
    assert not pair.lets_in(consumer)


def test_a_lost_message_leaves_nobody_refused(pair: Pair, consumer: str) -> None:
    """Here that of a control plane that somebody has access again."""
    pair.write(consumer)
    pair.configure()
    pair.hear(1, revoked=[consumer])
    assert not pair.lets_in(consumer)
    for seconds in (1.1, ASKED, 1.1):
        pair.data_plane.run_timers(seconds)
    assert pair.lets_in(consumer)


def test_a_start_from_the_cache_remembers_who_lost_access(
    pair: Pair, consumer: str, tmp_path: Path
) -> None:
    pair.write(consumer)
    pair.configure()
    pair.write(consumer, SUSPENDED)
    pair.hybrid.connect(False)
    pair.hybrid.close()

    started = Pair(tmp_path)
    started.hybrid.connect(False)
    assert not started.lets_in(consumer)
    started.hybrid.close()


def test_a_subject_is_refused_before_the_configuration_has_it(pair: Pair) -> None:
    pair.configure()
    assert pair.accepts("ann")
    pair.set_subject("ann", not_before=FOREVER, changed_at=1)
    assert not pair.accepts("ann")
    pair.hybrid.data_plane.bridge.send_event("declarative", "reconfigure")
    pair.data_plane.run_timers(1.1)
    assert not pair.accepts("ann")  # also by another configuration that does not have it yet
    pair.configure()
    assert not pair.accepts("ann")
    pair.set_subject("ann", not_before=1, changed_at=2)
    assert pair.accepts("ann")
    assert pair.accepts("bob")


def test_a_start_from_the_cache_remembers_which_subjects_are_refused(
    pair: Pair, tmp_path: Path
) -> None:
    pair.configure()
    pair.set_subject("ann", not_before=FOREVER, changed_at=1)
    pair.set_subject("bob", not_before=FOREVER, changed_at=1)
    pair.set_subject("bob", not_before=1, changed_at=2)
    pair.data_plane.run_timers(1.1)
    pair.hybrid.connect(False)
    pair.hybrid.close()

    started = Pair(tmp_path)
    started.hybrid.connect(False)
    started.data_plane.run_timers(1.1)
    assert (started.accepts("ann"), started.accepts("bob")) == (False, True)
    started.hybrid.close()


def test_a_subject_that_the_configuration_has_is_noted_no_longer(pair: Pair) -> None:
    def notes() -> int:
        text = "SELECT COUNT(*) FROM lmdb WHERE key LIKE 'scim-bridge|subject|%'"
        (count,) = pair.hybrid.data_plane.database.reader().execute(text).fetchone()
        return int(count)

    pair.configure()
    pair.set_subject("ann", not_before=FOREVER, changed_at=1)
    assert notes() == 1
    pair.configure()
    assert notes() == 0
    assert not pair.accepts("ann")


def test_without_a_connection_nothing_is_written(pair: Pair, consumer: str) -> None:
    pair.hybrid.connect(False)
    with pytest.raises(ControlPlaneAwayError):
        pair.write(consumer)
    with pytest.raises(ControlPlaneAwayError):
        pair.bridge.query()
    pair.hybrid.connect(True)
    assert pair.bridge.query(consumer_ids=[consumer]).consumers == []


def test_a_control_plane_without_this_scim_bridge_is_named(
    pair: Pair, consumer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_hybrid, "_CAPABILITY", "kong.sync.v2")
    with pytest.raises(BridgeUnavailableError, match="install one release on all nodes"):
        pair.write(consumer)


def test_a_data_plane_of_another_release_is_refused_with_both_versions(pair: Pair) -> None:
    answer = pair.call(version=BRIDGE_VERSION - 1)
    assert answer["refused"] == "BRIDGE_VERSION"
    assert f"version {BRIDGE_VERSION} of the wire" in answer["message"]
    assert f"this data plane version {BRIDGE_VERSION - 1}" in answer["message"]


def test_a_control_plane_runs_queries_and_commits_only(pair: Pair) -> None:
    for name in ("wake", "exit", "part", "", 1):
        assert pair.call(name=name)["refused"] == "BAD_REQUEST"


def test_a_control_plane_runs_nothing_where_scim_is_enabled_nowhere(pair: Pair) -> None:
    pair.hybrid.control_plane.bridge.configure(PLUGINS[1:])
    assert pair.call()["refused"] == "READ_ONLY"


def test_an_answer_that_nobody_waits_for_any_more_is_gone(pair: Pair) -> None:
    argument = json.dumps({"id": "unknown", "from": 0})
    control_plane = pair.hybrid.control_plane.bridge
    answer = control_plane.on_call("kong.scim.v1.rest", DATA_PLANE, argument)
    assert json.loads(answer)["ok"] == {"gone": True}


def test_of_a_commit_whose_answer_is_lost_nobody_says_that_it_was_not_written(
    pair: Pair, consumer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends after the control plane has committed, and before it answers."""
    pair.write(consumer)
    call = pair.hybrid.control_plane.bridge.on_call

    def then_gone(method: str, peer: str, argument: str) -> str:
        answer = call(method, peer, argument)
        pair.hybrid.connect(False)
        return answer

    monkeypatch.setattr(pair.hybrid.control_plane.bridge, "on_call", then_gone)
    with pytest.raises(DatabaseDownError) as failure:
        pair.write(consumer, "written")
    assert not isinstance(failure.value, ControlPlaneAwayError)
    with pytest.raises(ControlPlaneAwayError):
        pair.bridge.query()
    monkeypatch.undo()
    pair.hybrid.connect(True)
    [found] = pair.bridge.query(consumer_ids=[consumer]).consumers
    assert "written" in found.tags


def test_a_data_plane_of_before_is_told_nothing_and_hears_it_with_its_configuration(
    pair: Pair, consumer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pair.write(consumer)
    pair.configure()
    monkeypatch.setattr(sandbox_hybrid, "_CAPABILITY", "kong.sync.v2")
    entity = {"id": consumer, "username": "x", "tags": [SUSPENDED]}
    text = json.dumps(
        {
            "bridge_version": BRIDGE_VERSION,
            "steps": [{"op": "upsert", "dao": "consumers", "entity": entity}],
        }
    )
    for _ in range(2):
        answer, _ = pair.hybrid.control_plane.bridge.call("commit", text, {"node_id": "control"})
        assert "ok" in json.loads(answer)
    assert caplog.text.count("has no scim-bridge of this release") == 1
    assert pair.lets_in(consumer)
    pair.configure()
    assert not pair.lets_in(consumer)
