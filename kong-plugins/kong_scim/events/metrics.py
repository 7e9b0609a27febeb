"""Reports counts and gauges of a tenant's events to Kong's ``/metrics``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from kong_scim.bridge import Sample
from kong_scim.counts import counts_of, take_all
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.event_tables import deliveries, outbox
from kong_scim.directory.queries import in_scope
from kong_scim.directory.statements import Statement
from kong_scim.directory.values import utc_now

BETWEEN_MEASURES = 5.0
"""Seconds between two queries of the tables. Prometheus usually scrapes every 15 or 60 seconds."""


class Meter:
    """Reports a tenant's counts with each tick, and its gauges every :data:`BETWEEN_MEASURES`.

    :param targets: The targets of events. Each has a gauge, even if no delivery waits for it.
    :param clock: Returns seconds of a monotonic clock.
    """

    def __init__(
        self,
        tenant: str,
        targets: Iterable[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._tenant = tenant
        self._targets = tuple(targets)
        self._clock = clock
        self._now = now
        self._next = 0.0

    def run(
        self,
        database: TenantDatabase,
        report: Callable[[list[Sample]], None],
        more_gauges: Callable[[TenantDatabase], list[Sample]],
    ) -> None:
        """Report the counts since the last report, and the gauges if they are due.

        :param more_gauges: Returns gauges that are not about events.
        :raises ~kong_scim.bridge.BridgeError: When Kong or the database does not answer. The next
            report has the counts then.
        """
        gauges = []
        if self._clock() >= self._next:
            gauges = self._gauges(database) + more_gauges(database)
        taken = take_all(self._tenant)
        try:
            samples = [
                Sample(metric, (self._tenant, *labels), count)
                for (metric, *labels), count in taken.items()
            ]
            if samples or gauges:
                report(samples + gauges)
        except BaseException:
            counts_of(self._tenant).put_back(taken)
            raise
        if gauges:
            self._next = self._clock() + BETWEEN_MEASURES

    def _gauges(self, database: TenantDatabase) -> list[Sample]:
        (unsealed,), waiting = database.query([database.bind(_UNSEALED), database.bind(_WAITING)])
        now, by_target = self._now(), {row["target"]: row for row in waiting}
        none = {"count": 0, "oldest": None}
        queues: list[tuple[str, tuple[str, ...], Any]] = [("outbox", (), unsealed)]
        for target in dict.fromkeys((*self._targets, *by_target)):
            queues.append(("deliveries", (target,), by_target.get(target, none)))
        samples = [Sample("measured", (self._tenant,), now.timestamp())]
        for queue, more_labels, row in queues:
            labels = (self._tenant, *more_labels)
            samples.append(Sample(f"{queue}_pending", labels, int(row["count"])))
            samples.append(Sample(f"{queue}_oldest", labels, _age(row["oldest"], now)))
        return samples


def _age(stored: str | None, now: datetime) -> float:
    """Return the seconds since a stored date, or 0 if there is none or it is no date."""
    try:
        return max((now - datetime.fromisoformat(stored)).total_seconds(), 0.0) if stored else 0.0
    except (ValueError, TypeError, OverflowError):
        return 0.0


_UNSEALED = Statement(
    select(func.count().label("count"), func.min(outbox.c.created).label("oldest")).where(
        in_scope(outbox)
    )
)

_WAITING = Statement(
    select(
        deliveries.c.target,
        func.count().label("count"),
        func.min(deliveries.c.created).label("oldest"),
    )
    .where(in_scope(deliveries), deliveries.c.state == "pending")
    .group_by(deliveries.c.target)
)
