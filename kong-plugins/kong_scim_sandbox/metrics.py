"""The metrics of scim-bridge for the sandbox's ``/metrics``, without any of Kong's own.

The names and labels are those of ``kong/plugins/scim-bridge/metrics.lua``, which declares them.
"""

from __future__ import annotations

import json
from threading import Lock

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The registry of Kong's prometheus plugin.

    :ivar observed: Whether the prometheus plugin is declared.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.observed = False
        self._lock = Lock()
        self._registry = CollectorRegistry()
        self._declared: dict[str, Counter | Gauge | Histogram] = {}

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format, or nothing without the plugin."""
        return generate_latest(self._registry) if self.observed else b""

    def declare(self, kind: str, name: str, explanation: str, labels: str, buckets: str) -> None:
        """Register a metric, unless a thread has registered it before.

        :param kind: ``counter``, ``gauge`` or ``histogram``.
        :param name: The name without the prefix ``kong_``.
        :param labels: The names of the labels, as a JSON list.
        :param buckets: The limits of a histogram's buckets, as a JSON list.
        """
        with self._lock:
            if name in self._declared:
                return
            arguments = (f"kong_{name}", explanation, json.loads(labels))
            if kind == "histogram":
                limits = json.loads(buckets)
                made: Counter | Gauge | Histogram = Histogram(
                    *arguments, buckets=limits, registry=self._registry
                )
            else:
                made = {"counter": Counter, "gauge": Gauge}[kind](
                    *arguments, registry=self._registry
                )
            self._declared[name] = made

    def measure(self, name: str, verb: str, value: float, labels: str) -> None:
        """Count, set or observe a value, or reset a metric.

        :param verb: ``inc``, ``set``, ``observe`` or ``reset``.
        :param labels: The values of the labels, as a JSON list.
        """
        metric = self._declared[name]
        if verb == "reset":
            metric.clear()
        else:
            getattr(metric.labels(*json.loads(labels)), verb)(value)
