"""The event worker seals, drops and delivers a tenant's events with each tick."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from kong_scim.bridge import Sample
from kong_scim.config.plugin import POLL, ConfigurationError, PluginConfig
from kong_scim.counts import Failures
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.kinds import Kind
from kong_scim.events.metrics import Meter
from kong_scim.events.retention import Retention
from kong_scim.events.signing import SigningKeyError
from kong_scim.events.trail import Trail
from kong_scim.events.webhooks.deliveries import Deliveries
from kong_scim.events.webhooks.dispatcher import Dispatcher
from kong_scim.events.webhooks.formats import Issuer, Secrets, WebhookTarget
from kong_scim.events.webhooks.http import Sender
from kong_scim.files import WatchedFile

log = logging.getLogger(__name__)

ISSUER = "kong-scim"


class EventWorker:
    """Does the event work of one plugin instance, and keeps its state between ticks.

    :param references: Vault references by the webhook's name; the signing key's has an empty name.
    :param failures: The log of failures.
    :raises ~kong_scim.config.plugin.ConfigurationError: When a signing key that is text in the
        configuration cannot sign. A key of a file or a vault may change at any time: if it cannot
        sign, that is logged, and it is not used.
    """

    def __init__(
        self, config: PluginConfig, references: Mapping[str, str], failures: Failures
    ) -> None:
        events = config.events
        self._failures = failures
        self._events = events
        self._name = events.issuer or config.base_url or ISSUER
        self._poll_audience = events.poll_audience or config.base_url or self._name
        self._references = dict(references)
        self._retention = Retention(timedelta(days=events.keep_days))
        self._dispatcher = Dispatcher(
            [
                WebhookTarget(each.name, each.url, each.format, tuple(each.events), each.audience)
                for each in events.webhooks
            ],
            Sender(
                allow_http=events.allow_http,
                allow_hosts=events.allow_hosts,
                timeout=events.timeout,
            ),
            timedelta(hours=events.give_up_hours),
            failures=failures,
        )
        targets = [each.name for each in events.webhooks] + ([POLL] if events.poll else [])
        self._meter = Meter(config.tenant, targets)
        self._files = {
            name: WatchedFile(path, what, str)
            for name, what, path in (
                ("", "signing key file", events.signing_key_file),
                *((each.name, "secret file", each.secret_file) for each in events.webhooks),
            )
            if path
        }
        for file in self._files.values():
            file.get()  # logs at the start if a file cannot be read
        self._issuer: tuple[str, Issuer | None] = ("", None)
        if events.signing_key and "" not in self._references:
            try:
                Issuer(events.signing_key, self._name)
            except SigningKeyError as error:
                raise ConfigurationError(f"config.events.signing_key: {error}") from None

    @property
    def poll_audience(self) -> str:
        """The ``aud`` of polled tokens, which never depends on a request's Host header."""
        return self._poll_audience

    @property
    def secrets(self) -> list[str]:
        """The vault references whose live values :meth:`run` takes."""
        return list(dict.fromkeys(self._references.values()))

    @property
    def key_secrets(self) -> list[str]:
        """The vault reference of the signing key in a list, or an empty list."""
        return [self._references[""]] if "" in self._references else []

    def run(self, database: TenantDatabase, kind: Kind, secrets: Mapping[str, str | None]) -> bool:
        """Seal, drop and deliver events. Deliveries are also sent if sealing fails.

        :return: Whether there is more work than one tick does, so that the next should come soon.
        :raises Exception: The failure of sealing, or else that of delivering.
        """
        deliveries, polled = Deliveries(database), [POLL] if self._events.poll else []
        trail = Trail(
            database,
            kind,
            lambda event: deliveries.steps(
                # A dry run changed nothing, so no receiver must act on its event.
                event,
                [] if event.get("dryRun") else [*self._dispatcher.who_wants(event), *polled],
                datetime.now(UTC),
            ),
            aside=self._retention.aside,
        )
        more, failure = False, None
        try:
            more = self._retention.run(trail)
        except Exception as error:
            failure = error
        if self._events.webhooks or polled:
            more |= self._dispatcher.run(deliveries, self._signing(secrets))
        if failure is not None:
            raise failure
        return more

    def measure(
        self,
        database: TenantDatabase,
        report: Callable[[list[Sample]], None],
        more_gauges: Callable[[TenantDatabase], list[Sample]],
    ) -> None:
        """Report counts and gauges of the tenant's events for Kong's ``/metrics``.

        :param more_gauges: Returns gauges that are not about events.
        :raises ~kong_scim.bridge.BridgeError: When Kong or the database does not answer.
        """
        self._meter.run(database, report, more_gauges)

    def issuer(self, secrets: Mapping[str, str | None]) -> Issuer | None:
        """Return the issuer, which signs tokens, or None if there is no key that can sign."""
        key = self._secret("", self._events.signing_key, secrets)
        if key != self._issuer[0]:
            try:
                self._issuer = (key, Issuer(key, self._name))
            except SigningKeyError as error:
                field = "signing_key_file" if "" in self._files else "signing_key"
                log.error("events.%s: %s", field, error)  # noqa: TRY400 - no defect of ours
                self._issuer = (key, None)
        return self._issuer[1]

    def _secret(self, name: str, configured: str, secrets: Mapping[str, str | None]) -> str:
        """Return the present value of a secret: from its file, its vault, or the configuration."""
        if name in self._files:
            return self._files[name].get() or ""
        reference = self._references.get(name)
        return (secrets.get(reference) if reference else configured) or ""

    def _signing(self, secrets: Mapping[str, str | None]) -> Secrets:
        values = {}
        for webhook in self._events.webhooks:
            value = self._secret(webhook.name, webhook.secret, secrets)
            if value.strip():
                values[webhook.name] = value
        return Secrets(values, self.issuer(secrets))
