"""What the sandbox shows at ``/metrics``, after ``kong/plugins/scim-bridge/metrics.lua``.

None of Kong's own metrics is there, only those of SCIM, under the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_LATENCIES = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)

_COUNTERS = {
    "requests": (
        "kong_scim_requests_total",
        "SCIM requests by operation and HTTP status",
        ("tenant", "operation", "status"),
    ),
    "refused": (
        "kong_scim_suspended_refused_total",
        "Requests of suspended consumers that were refused",
        ("tenant",),
    ),
    "events": (
        "kong_scim_events_total",
        "Events sealed by this node, once for each of their types",
        ("tenant", "type"),
    ),
    "deliveries": (
        "kong_scim_deliveries_total",
        "Attempts to deliver events made by this node: delivered, failed or dead",
        ("tenant", "target", "result"),
    ),
    "failures": (
        "kong_scim_failures_total",
        "Failures of this node's work beside requests, by job, and by the webhook they are about",
        ("tenant", "job", "target"),
    ),
}

_GAUGES = {
    "guarded": (
        "kong_scim_guard_enabled",
        "Whether scim-bridge guards every route of this node: 1, or 0",
        ("tenant",),
    ),
    "outbox_pending": ("kong_scim_outbox_pending", "Events that wait to be sealed", ("tenant",)),
    "outbox_oldest": ("kong_scim_outbox_oldest_seconds", "Age of the oldest of them", ("tenant",)),
    "deliveries_pending": (
        "kong_scim_deliveries_pending",
        "Deliveries that wait for their target",
        ("tenant", "target"),
    ),
    "deliveries_oldest": (
        "kong_scim_deliveries_oldest_seconds",
        "Age of the oldest of them",
        ("tenant", "target"),
    ),
    "measured": (
        "kong_scim_measured_timestamp_seconds",
        "When this node's plugin server measured the gauges of SCIM last",
        ("tenant",),
    ),
}

_VERBS = {
    "collection": {"GET": "list", "HEAD": "list", "POST": "create"},
    "resource": {
        "GET": "read",
        "HEAD": "read",
        "PUT": "replace",
        "PATCH": "patch",
        "DELETE": "delete",
    },
}
_KINDS = ("users", "groups", "events")
_OF_EVENTS = ("chain", "deliveries", "poll")
_OTHERS = {
    **dict.fromkeys(
        ("serviceproviderconfig", "resourcetypes", "schemas", "openapi.json", "jwks.json"),
        "discovery",
    ),
    "bulk": "bulk",
    "me": "me",
    ".search": "search",
}


class Metrics:
    """The registry.

    :ivar observed: Whether the prometheus plugin is declared.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.observed = False
        self._registry = CollectorRegistry()
        self._counters = {
            word: Counter(*of, registry=self._registry) for word, of in _COUNTERS.items()
        }
        self._gauges = {word: Gauge(*of, registry=self._registry) for word, of in _GAUGES.items()}
        self._latency = Histogram(
            "kong_scim_request_latency_ms",
            "Total latency of SCIM requests in milliseconds",
            ("tenant", "operation"),
            buckets=_LATENCIES,
            registry=self._registry,
        )

    def text(self) -> bytes:
        """Return everything in Prometheus' text format; nothing where nobody may look."""
        return generate_latest(self._registry) if self.observed else b""

    def families(self) -> Iterator[Metric]:
        """Yield what there is, with the values so far."""
        yield from self._registry.collect()

    def request(self, tenant: str, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request.

        :param path: Below the route's prefix.
        """
        operation = _operation(method, path)
        self._counters["requests"].labels(tenant, operation, str(status)).inc()
        self._latency.labels(tenant, operation).observe(seconds * 1000)

    def refused(self, tenant: str) -> None:
        """Count a request of a suspended consumer."""
        self._counters["refused"].labels(tenant).inc()

    def guarded(self, tenant: str, *, guarded: bool) -> None:
        """Show whether the guard is on for every route."""
        self._gauges["guarded"].labels(tenant).set(int(guarded))

    def report(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Take what the plugin server counted and measured."""
        for sample in samples:
            if sample["metric"] in self._gauges:
                self._gauges[sample["metric"]].labels(*sample["labels"]).set(sample["value"])
            else:
                self._counters[sample["metric"]].labels(*sample["labels"]).inc(sample["value"])


def _operation(method: str, path: str) -> str:
    """Return the word for a request (``kong/plugins/scim-bridge/operations.lua``)."""
    first, second = [*path.lower().removeprefix("/").split("/"), ""][:2]
    if first not in _KINDS:
        return _OTHERS.get(first) or ("search" if (first, method) == ("", "GET") else "other")
    if second == ".search":
        return f"{first}.search"
    if first == "events" and second in _OF_EVENTS:
        return f"events.{second}"
    verb = _VERBS["resource" if second else "collection"].get(method)
    return f"{first}.{verb}" if verb else "other"
