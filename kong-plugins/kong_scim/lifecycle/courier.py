"""Sends what is due, tick by tick: each target for itself, so that a dead one delays no other.

Requests run on threads of their own, and a tick does not wait for a slow one: what it became is
written down by a later tick. Where the process dies in between, the lease ends and it is sent
again: at least once, with the id of the event as the key by which a receiver knows it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kong_scim.directory.values import utc_now
from kong_scim.lifecycle.deliveries import Attempt, Deliveries, Delivery
from kong_scim.lifecycle.messages import Format, Issuer, Message, signed_json, wanted
from kong_scim.lifecycle.sending import Answer, Sender

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Requests under way to one target."""

BUDGET = 0.7
"""Seconds that a tick goes on for while answers come."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 900.0
"""Bounds of the pause after a failure, in seconds; it doubles, less a random part up to half."""

FAILURES = 5
"""Failures in a row after which a target is left alone for a while."""

LONGEST_REST = 15.0
"""Seconds that it is left alone at most before it is tried with one request."""

BETWEEN_BURIALS = 30.0
"""Seconds between two looks for what is to be given up."""


@dataclass(frozen=True)
class Target:
    """Somebody who is told of events.

    :param events: Labels of those it wants (:func:`~.messages.labels`); none for all.
    :param audience: The ``aud`` of its tokens.
    """

    name: str
    url: str
    format: Format = "json"
    events: tuple[str, ...] = ()
    audience: str = ""


@dataclass
class _Line:
    """What is known of a target at this node."""

    under_way: int = 0
    failures: int = 0
    rests_until: float = 0.0


@dataclass
class Secrets:
    """What messages are signed with.

    :param of_target: By the target's name.
    """

    of_target: Mapping[str, str] = field(default_factory=dict)
    issuer: Issuer | None = None


class Courier:
    """Delivers to a tenant's targets.

    :param give_up: The age after which a delivery is dead.
    :param clock: Seconds that only go forward.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        sender: Sender,
        give_up: timedelta,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._targets = list(targets)
        self._sender = sender
        self._give_up = give_up
        self._clock = clock
        self._now = now
        self._lines = {target.name: _Line() for target in targets}
        self._threads = ThreadPoolExecutor(
            max(1, AT_ONCE * len(self._targets)), thread_name_prefix="courier"
        )
        self._under_way: dict[Future[Answer], tuple[Target, Delivery, datetime]] = {}
        self._next_burial = 0.0

    def who_wants(self, event: Mapping[str, Any]) -> list[str]:
        """Return the names of the targets that are told of an event."""
        return [target.name for target in self._targets if wanted(event, target.events)]

    def run(self, deliveries: Deliveries, secrets: Secrets) -> bool:
        """Write down what came back, send what is due, and go on while answers come.

        :return: Whether something was under way when its time was over, so that the next tick
            should come soon.
        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        deadline = self._clock() + BUDGET
        while True:
            self._collect(deliveries)
            begun = sum(self._begin(deliveries, target, secrets) for target in self._targets)
            left = deadline - self._clock()
            if left <= 0 or not self._under_way:
                break
            done, _ = wait(self._under_way, timeout=left, return_when=FIRST_COMPLETED)
            if not done and not begun:
                break
        not_done = bool(self._under_way)
        self._collect(deliveries)
        if self._clock() >= self._next_burial:
            self._next_burial = self._clock() + BETWEEN_BURIALS
            dead = deliveries.bury(self._now() - self._give_up, self._now())
            if dead:
                log.warning("%d deliveries are given up: kong-scim deliveries --failed", dead)
        return not_done

    def _begin(self, deliveries: Deliveries, target: Target, secrets: Secrets) -> int:
        line = self._lines[target.name]
        if self._clock() < line.rests_until:
            return 0
        room = (1 if line.failures >= FAILURES else AT_ONCE) - line.under_way
        if room <= 0:
            return 0
        now = self._now()
        # Twice the time of an exchange, and a tick to write it down.
        until = now + timedelta(seconds=2 * self._sender.timeout + 5)
        claimed = deliveries.claim(target.name, room, now, until)
        for delivery in claimed:
            try:
                message = self._message(target, delivery, secrets, now)
            except LookupError as error:
                answer = Answer(error=str(error.args[0]))
                future: Future[Answer] = Future()
                future.set_result(answer)
            else:
                future = self._threads.submit(
                    self._sender.post, target.url, message.headers, message.body
                )
            self._under_way[future] = (target, delivery, now)
            line.under_way += 1
        return len(claimed)

    @staticmethod
    def _message(target: Target, delivery: Delivery, secrets: Secrets, now: datetime) -> Message:
        if target.format == "set":
            if secrets.issuer is None:
                raise LookupError("there is no signing key that can sign (events.signing_key)")
            return secrets.issuer.push(delivery.event, target.audience or target.url, now)
        secret = secrets.of_target.get(target.name)
        if not secret:
            raise LookupError("the target's secret has no value")
        return signed_json(delivery.event, secret, now)

    def _collect(self, deliveries: Deliveries) -> None:
        done = [future for future in self._under_way if future.done()]
        attempts = []
        for future in done:
            target, delivery, at = self._under_way[future]
            attempts.append(self._judged(target, delivery, at, future.result()))
        deliveries.record(attempts)
        # Only now: what could not be written down is tried again with the next tick.
        for future, attempt in zip(done, attempts, strict=True):
            target, _, _ = self._under_way.pop(future)
            self._learn(target, attempt)
            deliveries.count(target.name, attempt)

    def _judged(self, target: Target, delivery: Delivery, at: datetime, answer: Answer) -> Attempt:
        # RFC 8935 §2.2: 202 and nothing else says that a token was taken.
        taken = answer.status == 202 if target.format == "set" else 200 <= answer.status < 300
        now = self._now()
        if taken:
            return Attempt(delivery.number, at, answer, "delivered", now)
        pause = min(FIRST_PAUSE * 2 ** min(delivery.attempts - 1, 20), LONGEST_PAUSE)
        pause *= random.uniform(0.5, 1)  # noqa: S311 - spreads contenders, no secret
        due = now + timedelta(seconds=max(pause, answer.retry_after or 0))
        old = now - datetime.fromisoformat(delivery.created) >= self._give_up
        return Attempt(delivery.number, at, answer, "dead" if old else "pending", due)

    def _learn(self, target: Target, attempt: Attempt) -> None:
        line = self._lines[target.name]
        line.under_way -= 1
        if attempt.state == "delivered":
            line.failures, line.rests_until = 0, 0.0
            return
        line.failures += 1
        rest = attempt.answer.retry_after or 0.0
        if line.failures >= FAILURES:
            rest = max(rest, min(2.0 ** (line.failures - FAILURES), LONGEST_REST))
        if line.failures == FAILURES:
            log.warning("target %s does not take what it is sent: it rests", target.name)
        line.rests_until = max(line.rests_until, self._clock() + rest if rest else 0.0)
