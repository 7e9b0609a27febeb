"""The tick: the jobs that a plugin instance does about once a second, without a request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime

from kong_scim.bridge import Bridge, BridgeError, BridgeUnavailableError, Host, Waking
from kong_scim.config.plugin import PluginConfig
from kong_scim.counts import Failures
from kong_scim.dbless.bridge import epoch_key
from kong_scim.dbless.local_store import BusyError, StoreError
from kong_scim.events.credential_uses import Callers, Expiring
from kong_scim.events.worker import EventWorker
from kong_scim.pluginserver.event import KongGoneError
from kong_scim.provider_log.log import ProviderLog
from kong_scim.sync.drift_pass import DriftPass
from kong_scim.sync.drift_state import gauges
from kong_scim.tenant import NoDataError, Provisioning, lacking

UNGUARDED = (
    "The plugin scim-bridge is not enabled for every route of this gateway, so a suspended person "
    "would get in: enable it globally (`plugins: [{name: scim-bridge}]`, on no route, service or "
    "consumer), or set `guard: optional`. A change counts some seconds later"
)

_GATEWAY_FAILURES = (
    BridgeError,
    BridgeUnavailableError,
    BusyError,
    KongGoneError,
    NoDataError,
    StoreError,
)
"""Failures that are logged by their text. Of any other, only the type and the place are logged."""


class Tick:
    """Runs the background jobs of one tenant. A job that fails does not stop the others.

    :param provisioning: Makes the tenant's provisioning over the bridge of a tick.
    :param last_used: Returns when each credential was last accepted, by its name.
    :param failures: Where failures are noted.
    """

    def __init__(
        self,
        config: PluginConfig,
        provisioning: Callable[[Bridge, Host], Provisioning],
        event_worker: EventWorker,
        last_used: Callable[[], Mapping[str, datetime]],
        failures: Failures,
    ) -> None:
        self._config = config
        self._provisioning = provisioning
        self._event_worker = event_worker
        self._last_used = last_used
        self._failures = failures
        self._running = threading.Lock()
        self._names_are_held = False
        self._drift_pass = DriftPass(config)
        self._provider_log = ProviderLog(config.requests)
        self._callers = Callers(
            [
                Expiring(token.name, token.expires, token.expiry())
                for token in config.tokens
                if token.expires and config.auth == "bearer"
            ]
        )

    def run(self, bridge: Bridge) -> None:
        """Run all jobs, unless the previous tick is still running.

        Kong abandons a tick after a minute and begins the next one.
        """
        if not self._running.acquire(blocking=False):
            self._failures.note("tick", "the one before it is still running")
            return
        try:
            self._run(bridge)
        finally:
            self._running.release()

    def _run(self, bridge: Bridge) -> None:
        waking: Waking | None = None

        def wake() -> None:
            nonlocal waking
            waking = bridge.wake(
                epoch=epoch_key(self._config.tenant), secrets=self._event_worker.secrets
            )

        self._do("tick", wake)
        if waking is None:
            return
        if waking.guarded:
            self._failures.over("guard")
        else:
            self._failures.note("guard", UNGUARDED)
        problem = lacking(self._config, waking.host)
        if problem:  # each request is refused with the same sentence
            self._failures.note("targets", problem)
            return
        provisioning = self._provisioning(bridge, waking.host)
        jobs: dict[str, Callable[[], object]] = {
            "memory": lambda: provisioning.keep_kong_applied(waking.epoch),
            "names": lambda: self._hold_names(provisioning),
            "tokens": lambda: self._callers.run(provisioning.database(), self._last_used),
            "events": lambda: self._pass_on(provisioning, waking, bridge),
            "requests": lambda: self._provider_log.run(provisioning.database()),
        }
        if self._drift_pass.is_due:
            jobs["drift"] = lambda: self._drift_pass.run(provisioning.drift_tools())
        if waking.observed:
            jobs["metrics"] = lambda: self._event_worker.measure(
                provisioning.database(), bridge.report, gauges
            )
        for name, job in jobs.items():
            self._do(name, job)

    def _do(self, name: str, job: Callable[[], object]) -> None:
        """Run one job, and note any failure so that the other jobs still run."""
        try:
            job()
        except _GATEWAY_FAILURES as error:
            self._failures.note(name, str(error))
        except Exception as error:
            self._failures.note(name, error)
        else:
            self._failures.over(name)

    def _hold_names(self, provisioning: Provisioning) -> None:
        self._names_are_held = self._names_are_held or provisioning.hold_names()

    def _pass_on(self, provisioning: Provisioning, waking: Waking, bridge: Bridge) -> None:
        if self._event_worker.run(provisioning.database(), provisioning.event_kind, waking.secrets):
            bridge.request_tick()
