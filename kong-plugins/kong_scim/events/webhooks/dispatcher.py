"""The dispatcher sends due deliveries with each tick. A target that is down delays no other.

Requests run on their own threads, and a tick does not wait for a slow one: a later tick stores its
result. If the process dies in between, the lease ends and the delivery is sent again. So each event
arrives at least once, and a receiver recognizes a repetition by the id of the event.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kong_scim.bridge import GATEWAY_AWAY, BridgeError
from kong_scim.counts import Failures
from kong_scim.directory.values import utc_now
from kong_scim.events.webhooks.deliveries import Attempt, Deliveries, Delivery
from kong_scim.events.webhooks.formats import FORMATS, Secrets, UnsignedError, WebhookTarget, wanted
from kong_scim.events.webhooks.http import Answer, Sender

log = logging.getLogger(__name__)

JOB = "deliveries"
"""The name of this work as a job of :class:`.Failures`."""

AT_ONCE = 4
"""How many requests to one target are sent at a time."""

BUDGET = 0.7
"""Seconds after which a tick ends although answers still arrive."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 900.0
"""Seconds of the pause after a first failure, and at most. It doubles with each failure, and is
shortened by a random part of up to half."""

FAILURES = 5
"""Failures in a row that open a target's circuit breaker."""

LONGEST_REST = 15.0
"""Seconds after which an open circuit breaker lets one request through, at most."""

BETWEEN_SEARCHES = 30.0
"""Seconds between two searches for deliveries that are too old."""


@dataclass
class _TargetState:
    """The state of a target at this node: requests under way, failures in a row, pause."""

    under_way: int = 0
    failures: int = 0
    paused_until: float = 0.0


class Dispatcher:
    """Sends the due deliveries of a tenant to its targets.

    A failure never affects other targets, deliveries or answers, whatever a receiver answers, the
    database contains or a clock says.

    :param give_up: The age from which on a delivery is given up.
    :param failures: Where failures of this process are noted. Those of receivers are stored as
        attempts.
    :param clock: Returns seconds, monotonic.
    :param now: Returns the time of day.
    """

    def __init__(
        self,
        targets: Sequence[WebhookTarget],
        sender: Sender,
        give_up: timedelta,
        *,
        failures: Failures | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._failures = failures or Failures("default")
        self._targets = list(targets)
        self._sender = sender
        self._give_up = give_up
        self._clock = clock
        self._now = now
        self._states = {target.name: _TargetState() for target in targets}
        self._threads = ThreadPoolExecutor(
            max(1, AT_ONCE * len(self._targets)), thread_name_prefix="webhooks"
        )
        self._under_way: dict[Future[Answer], tuple[WebhookTarget, Delivery, datetime]] = {}
        self._next_search_for_old = 0.0

    def who_wants(self, event: Mapping[str, Any]) -> list[str]:
        """Return the names of the targets that get an event."""
        return [target.name for target in self._targets if wanted(event, target.events)]

    def run(self, deliveries: Deliveries, secrets: Secrets) -> bool:
        """Store results and send due deliveries, repeatedly while answers arrive.

        :return: Whether requests were still under way at the end, so that the next tick should
            come soon.
        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        deadline = self._clock() + BUDGET
        while True:
            self._collect(deliveries)
            started = sum(self._begin(deliveries, target, secrets) for target in self._targets)
            left = deadline - self._clock()
            if left <= 0 or not self._under_way:
                break
            done, _ = wait(self._under_way, timeout=left, return_when=FIRST_COMPLETED)
            if not done and not started:
                break
        not_done = bool(self._under_way)
        self._collect(deliveries)
        if self._clock() >= self._next_search_for_old:
            self._next_search_for_old = self._clock() + BETWEEN_SEARCHES
            self._give_up_old(deliveries)
        return not_done

    def _give_up_old(self, deliveries: Deliveries) -> None:
        now = self._now()
        deliveries.bring_forward(now)
        dead = deliveries.give_up_old(_shifted(now, -self._give_up), now)
        if dead:
            log.warning("%d deliveries are given up: kong-scim deliveries --failed", dead)

    def _begin(self, deliveries: Deliveries, target: WebhookTarget, secrets: Secrets) -> int:
        state = self._states[target.name]
        if self._clock() < state.paused_until:
            return 0
        slots = (1 if state.failures >= FAILURES else AT_ONCE) - state.under_way
        if slots <= 0:
            return 0
        now = self._now()
        # The lease is twice the timeout of a request, and some seconds to store the result.
        until = _shifted(now, timedelta(seconds=2 * self._sender.timeout + 5))
        try:
            claimed = deliveries.claim(target.name, slots, now, until)
        except GATEWAY_AWAY:
            raise
        except BridgeError as error:
            self._failures.note(JOB, str(error), target.name)
            state.paused_until = self._clock() + LONGEST_REST
            return 0
        for delivery in claimed:
            self._under_way[self._send(target, delivery, secrets, now)] = (target, delivery, now)
            state.under_way += 1
        return len(claimed)

    def _send(
        self, target: WebhookTarget, delivery: Delivery, secrets: Secrets, now: datetime
    ) -> Future[Answer]:
        """Begin to send a delivery, and return its future answer.

        If it cannot be sent, the answer says so at once.
        """
        if delivery.event is None:
            answer = Answer(error="the stored event cannot be read", is_final=True)
        else:
            try:
                message = FORMATS[target.format].build(delivery.event, target, secrets, now)
                sending = self._threads.submit(
                    self._sender.post, target.url, message.headers, message.body
                )
            except UnsignedError as error:
                answer = Answer(error=str(error))
            except Exception as error:
                self._failures.note(JOB, error, target.name)
                answer = Answer(error="it cannot be sent: see the plugin server's log")
            else:
                return sending
        answered: Future[Answer] = Future()
        answered.set_result(answer)
        return answered

    def _collect(self, deliveries: Deliveries) -> None:
        attempts: dict[Future[Answer], Attempt] = {}
        for future in [future for future in self._under_way if future.done()]:
            target, delivery, at = self._under_way[future]
            attempts[future] = self._result_of(target, delivery, at, self._answer(target, future))
        self._record(deliveries, list(attempts.values()))
        # Not before they are stored: if that failed, the next tick stores them.
        for future, attempt in attempts.items():
            target, _, _ = self._under_way.pop(future)
            self._note_result(target, attempt)
            deliveries.count(target.name, attempt)

    def _answer(self, target: WebhookTarget, future: Future[Answer]) -> Answer:
        error = future.exception()
        if error is None:
            return future.result()
        self._failures.note(JOB, error, target.name)
        return Answer(error="sending it failed: see the plugin server's log")

    def _record(self, deliveries: Deliveries, attempts: Sequence[Attempt]) -> None:
        """Store attempts. If the database refuses one, the others are stored all the same."""
        try:
            deliveries.record(attempts)
        except GATEWAY_AWAY:
            raise
        except BridgeError as error:
            if len(attempts) > 1:
                for attempt in attempts:
                    self._record(deliveries, [attempt])
                return
            (attempt,) = attempts
            self._failures.note(JOB, f"an attempt cannot be written down: {error}")
            if attempt.answer.text:
                plain = Answer(attempt.answer.status, "what was answered cannot be stored")
                self._record(deliveries, [replace(attempt, answer=plain)])
            # Otherwise the delivery is sent again after its lease.

    def _result_of(
        self, target: WebhookTarget, delivery: Delivery, at: datetime, answer: Answer
    ) -> Attempt:
        now = self._now()
        if FORMATS[target.format].accepted(answer.status):
            return Attempt(delivery.number, at, answer, "delivered", now)
        pause = min(FIRST_PAUSE * 2 ** min(max(delivery.attempts - 1, 0), 20), LONGEST_PAUSE)
        pause *= random.uniform(0.5, 1)  # noqa: S311 - it only spreads the attempts
        due = _shifted(now, timedelta(seconds=max(pause, answer.retry_after or 0)))
        is_dead = answer.is_final or self._is_old(delivery, now)
        return Attempt(delivery.number, at, answer, "dead" if is_dead else "pending", due)

    def _is_old(self, delivery: Delivery, now: datetime) -> bool:
        try:
            created = datetime.fromisoformat(delivery.created)
            return now - created.replace(tzinfo=created.tzinfo or UTC) >= self._give_up
        except (ValueError, TypeError, OverflowError):
            return True  # an invalid time would never pass

    def _note_result(self, target: WebhookTarget, attempt: Attempt) -> None:
        state = self._states[target.name]
        state.under_way -= 1
        if attempt.state == "delivered":
            state.failures, state.paused_until = 0, 0.0
            self._failures.over(JOB, target.name)
            return
        if attempt.answer.is_final:  # the stored event is the cause, not the target
            return
        state.failures += 1
        pause = attempt.answer.retry_after or 0.0
        if state.failures >= FAILURES:
            pause = max(pause, min(2.0 ** (state.failures - FAILURES), LONGEST_REST))
        if state.failures == FAILURES:
            why = attempt.answer.error or f"it was answered {attempt.answer.status}"
            log.warning("target %s does not take what it is sent, and rests: %s", target.name, why)
        state.paused_until = max(state.paused_until, self._clock() + pause if pause else 0.0)


_EARLIEST, _LATEST = (
    datetime.fromisoformat(each) for each in ("0001-01-01T00:00+00:00", "9999-12-31T23:59+00:00")
)


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Return a time shifted by a difference, or the last or first possible time."""
    try:
        return moment + by
    except OverflowError:  # a clock that is far off
        return _LATEST if by > timedelta(0) else _EARLIEST
