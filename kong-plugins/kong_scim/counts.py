"""Counts for Kong's ``/metrics``, and logs once what fails again and again beside requests.

Counts are kept by tenant for the whole process, since a request and a tick are served by instances
of their own; the tick of this node reports them to Kong, which keeps the sums.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import Counter
from pathlib import Path

log = logging.getLogger(__name__)


class Counts:
    """Counts since they were last taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, metric: str, *labels: str) -> None:
        """Count one.

        :param labels: Of ``events``, the type; of ``deliveries``, the target and the result; of
            ``failures``, the job and the target.
        """
        with self._lock:
            self._counts[metric, *labels] += 1

    def take(self) -> Counter[tuple[str, ...]]:
        """Return all counts, and begin anew."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return taken

    def put_back(self, taken: Counter[tuple[str, ...]]) -> None:
        """Add what could not be reported to the counts again."""
        with self._lock:
            self._counts.update(taken)


_by_tenant: dict[str, Counts] = {}


def counts_of(tenant: str) -> Counts:
    """Return the one of this process."""
    return _by_tenant.setdefault(tenant, Counts())


class Failures:
    """Counts failures of a tenant's work beside requests, and logs each once until it is over.

    A job that runs each second would else write a line a second.

    :param again: When it is tried again, as the log says it.
    """

    def __init__(self, tenant: str, again: str = "it is tried again with each tick") -> None:
        self._tenant = tenant
        self._again = again
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], str] = {}

    def note(self, job: str, error: BaseException | str, target: str = "") -> None:
        """Count and log a failure.

        :param job: One of a few words, which is a label of the metric.
        :param error: A sentence, or an exception that nobody foresaw, of which the log says where
            it comes from, and not its text: that may hold what was stored or sent.
        :param target: The webhook that it is about.
        """
        counts_of(self._tenant).add("failures", job, target)
        sentence = error if isinstance(error, str) else unforeseen(error)
        with self._lock:
            known = self._said.get((job, target)) == sentence
            self._said[job, target] = sentence
        if not known:
            named = f"{job} of {target}" if target else job
            log.warning("tenant %s: %s: %s; %s", self._tenant, named, sentence, self._again)

    def over(self, job: str, target: str = "") -> None:
        """Log that a job which failed does so no more."""
        with self._lock:
            failed = self._said.pop((job, target), None)
        if failed is not None:
            named = f"{job} of {target}" if target else job
            log.info("tenant %s: %s: all is well again", self._tenant, named)


def unforeseen(error: BaseException) -> str:
    """Say what an exception is and where it comes from, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(frames))
    return f"a defect, {type(error).__name__} at {places or 'an unknown place'}"
