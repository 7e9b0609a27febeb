"""The tick of a plugin instance: what its jobs fail with, and that it runs once at a time."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from in_process import CONFIG, Kong
from kong_scim.app import Plugin
from kong_scim.bridge import bridge_error
from kong_scim.counts import counts_of
from kong_scim.dbless.local_store import StoreError
from kong_scim.events.credential_uses import Callers
from kong_scim.events.worker import EventWorker
from kong_scim.pluginserver.event import KongGoneError
from kong_scim.provider_log.log import ProviderLog
from kong_scim.sync.drift_pass import DriftPass
from kong_scim.tenant import Provisioning


def test_what_the_tick_fails_with_is_logged_once_until_it_changes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = Plugin(CONFIG)
    failures: list[Exception | None] = []

    def job(*_: Any) -> None:
        failure = failures.pop(0)
        if failure is not None:
            raise failure

    monkeypatch.setattr(Provisioning, "database", lambda _: None)
    monkeypatch.setattr(Provisioning, "hold_names", lambda _: True)
    monkeypatch.setattr(Callers, "run", lambda *_: None)
    monkeypatch.setattr(ProviderLog, "run", lambda *_: None)
    monkeypatch.setattr(EventWorker, "run", job)
    away, busy = bridge_error("DATABASE", "the database is away"), bridge_error("CONFLICT", "busy")
    failures += [None, away, away, away, busy, None, None, away]
    with caplog.at_level(logging.INFO):
        for _ in range(len(failures)):
            plugin.tick(Waking())
    said = [(each.levelname, each.getMessage()) for each in caplog.records]
    assert [(level, text.split(": ")[2].split(";")[0]) for level, text in said] == [
        ("WARNING", "the database is away"),
        ("WARNING", "busy"),
        ("INFO", "all is well again"),
        ("WARNING", "the database is away"),
    ]


@pytest.mark.parametrize(
    "failure", [ValueError("s3cret"), RecursionError(), KongGoneError("gone"), StoreError("full")]
)
@pytest.mark.parametrize(
    "broken", ["memory", "names", "tokens", "events", "requests", "drift", "metrics"]
)
def test_whatever_a_job_of_the_tick_fails_with_the_others_are_done(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
    failure: Exception,
) -> None:
    plugin = Plugin({**CONFIG, "tenant": "ticking", "reconcile": {"every": 15}})
    done: list[str] = []

    def job(name: str) -> Any:
        def run(*_: Any) -> None:
            done.append(name)
            if name == broken:
                raise failure

        return run

    monkeypatch.setattr(Provisioning, "database", lambda _: None)
    monkeypatch.setattr(Provisioning, "keep_kong_applied", job("memory"))
    monkeypatch.setattr(Provisioning, "hold_names", job("names"))
    monkeypatch.setattr(Callers, "run", job("tokens"))
    monkeypatch.setattr(EventWorker, "run", job("events"))
    monkeypatch.setattr(Provisioning, "drift_tools", lambda _: None)
    monkeypatch.setattr(DriftPass, "run", job("drift"))
    monkeypatch.setattr(ProviderLog, "run", job("requests"))
    monkeypatch.setattr(EventWorker, "measure", job("metrics"))
    counts_of("ticking").take()
    for _ in range(3):
        plugin.tick(Waking(observed=True))
    every = ["memory", "names", "tokens", "events", "requests", "drift", "metrics"]
    assert done == every * 3
    assert counts_of("ticking").take() == {("failures", broken, ""): 3}
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("failure", [ValueError(), bridge_error("DATABASE", "away")])
def test_a_tick_that_cannot_even_begin_is_said_and_counted(
    caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    def wake(_: str) -> str:
        raise failure

    plugin, kong = Plugin({**CONFIG, "tenant": "sleepy"}), Waking()
    kong.scim = SimpleNamespace(wake=wake)
    counts_of("sleepy").take()
    for _ in range(2):
        plugin.tick(kong)
    assert counts_of("sleepy").take() == {("failures", "tick", ""): 2}
    assert len(caplog.records) == 1


def test_a_tick_does_not_begin_while_the_one_before_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin = Plugin(CONFIG)
    runs: list[int] = []

    def job(*_: Any) -> None:
        runs.append(len(runs))
        if len(runs) == 1:
            plugin.tick(Waking())

    monkeypatch.setattr(Provisioning, "database", lambda _: None)
    monkeypatch.setattr(Callers, "run", lambda *_: None)
    monkeypatch.setattr(ProviderLog, "run", lambda *_: None)
    monkeypatch.setattr(EventWorker, "run", job)
    plugin.tick(Waking())
    assert runs == [0]
    plugin.tick(Waking())
    assert runs == [0, 1]


class Waking:
    """The PDK object of a tick."""

    def __init__(self, *, observed: bool = False) -> None:
        self._observed = observed
        self.scim = SimpleNamespace(wake=self._wake)

    def _wake(self, text: str) -> str:
        question = json.loads(text)
        host = {**Kong.host, "kong_version": "3.9.1", "node_id": "n1", "workspace": "w1"}
        answer = {"bridge_version": question["bridge_version"], "host": host, "secrets": {}}
        rest = {"epoch": None, "admin_request": None, "observed": self._observed, "guarded": True}
        return json.dumps({"ok": {**answer, **rest}})
