"""What the sandbox shows at ``/metrics``: what scim-bridge counts, and nothing of Kong's own.

The names and labels are those of ``kong/plugins/scim-bridge/metrics.lua``, which declares them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Lock

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
        """Return everything in Prometheus' text format; nothing where nobody may look."""
        return generate_latest(self._registry) if self.observed else b""

    def families(self) -> Iterator[Metric]:
        """Yield what there is, with the values so far."""
        yield from self._registry.collect()

    def declare(self, kind: str, name: str, explanation: str, labels: str, buckets: str) -> None:
        """Have a metric, once for all threads.

        :param kind: ``counter``, ``gauge`` or ``histogram``.
        :param name: Without Kong's ``kong_``.
        :param labels: A JSON list of names; ``buckets``: one of numbers, of a histogram.
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
        :param labels: A JSON list of the labels' values.
        """
        metric = self._declared[name]
        if verb == "reset":
            metric.clear()
        else:
            getattr(metric.labels(*json.loads(labels)), verb)(value)
