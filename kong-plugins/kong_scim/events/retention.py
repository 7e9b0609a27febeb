"""Seals waiting events into the audit trail, and drops those that are older than they may be."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from kong_scim.directory.values import utc_now
from kong_scim.events.trail import BATCH, Trail

log = logging.getLogger(__name__)

ROUNDS = 10
"""Batches of one tick at most, so that it ends however many events wait."""

BETWEEN_DROPS = 600.0
"""Seconds between two deletions of old events, which may be kept longer by this time, and between
two attempts to seal an event that could not be sealed."""


class Retention:
    """Seals events that wait, and drops those that are too old.

    :param keep: How long events are kept.
    :param clock: Returns seconds of a monotonic clock.
    """

    def __init__(
        self,
        keep: timedelta,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._keep = keep
        self._clock = clock
        self._now = now
        self._next_drop = self._next_trial = 0.0
        self.aside: set[int] = set()
        """Positions of events that cannot be sealed, for :class:`.Trail`."""

    def run(self, trail: Trail) -> bool:
        """Seal the events of the outbox, and drop old ones if that is due.

        :return: Whether more events wait than one tick seals.
        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        if self._clock() >= self._next_trial:  # somebody may have repaired them
            self.aside.clear()
            self._next_trial = self._clock() + BETWEEN_DROPS
        try:
            return all(len(trail.seal()) == BATCH for _ in range(ROUNDS))
        finally:
            if self._clock() >= self._next_drop:
                self._drop(trail)

    def _drop(self, trail: Trail) -> None:
        dropped = 0
        for _ in range(ROUNDS):
            count = trail.drop(self._now() - self._keep)
            dropped += count
            if count < BATCH:
                self._next_drop = self._clock() + BETWEEN_DROPS
                break
        if dropped:
            log.info("%d events passed their age and were dropped", dropped)
