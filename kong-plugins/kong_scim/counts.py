"""Counts for Kong's ``/metrics``, and logs once what fails again and again beside requests.

Counts are kept by tenant for the whole process, since requests and ticks are served by different
instances. The tick of this node takes those of all its processes and reports them to Kong, which
keeps the sums.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from kong_scim import processes

log = logging.getLogger(__name__)


class Counts:
    """Numbers of events, deliveries and failures since they were last taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, metric: str, *labels: str) -> None:
        """Add one to a count.

        :param labels: For ``events``, the type; for ``deliveries``, the target and the result; for
            ``failures``, the job and the target. ``long_way`` has none.
        """
        with self._lock:
            self._counts[metric, *labels] += 1

    def take(self) -> Counter[tuple[str, ...]]:
        """Return all counts, and set them to zero."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return taken

    def put_back(self, taken: Counter[tuple[str, ...]]) -> None:
        """Add counts that could not be reported to the present ones."""
        with self._lock:
            self._counts.update(taken)


_by_tenant: dict[str, Counts] = {}


def counts_of(tenant: str) -> Counts:
    """Return the counts of a tenant in this process."""
    return _by_tenant.setdefault(tenant, Counts())


def take_all(tenant: str) -> Counter[tuple[str, ...]]:
    """Return a tenant's counts of all processes, and set them to zero."""
    taken = counts_of(tenant).take()
    for others in processes.ask_others("counts", tenant):
        taken.update({tuple(key): count for key, count in others})
    return taken


def _taken_here(tenant: str) -> list[Any]:
    return list(counts_of(tenant).take().items())


processes.offer("counts", _taken_here)


class Failures:
    """Counts failures of a tenant's background jobs, and logs each once until it is over.

    Otherwise a job that runs each second would log a line each second.

    :param again: The end of each log line, which says when the job is tried again.
    """

    def __init__(self, tenant: str, again: str = "it is tried again with each tick") -> None:
        self._tenant = tenant
        self._again = again
        self._lock = threading.Lock()
        self._logged: dict[tuple[str, str], str] = {}

    def note(self, job: str, error: BaseException | str, target: str = "") -> None:
        """Count and log a failure.

        :param job: The name of the job, a label of the metric.
        :param error: A sentence, or an unexpected exception. Of an exception the log has the type
            and the place, and not the text, which may contain data that was stored or sent.
        :param target: The webhook that failed, if it was one.
        """
        counts_of(self._tenant).add("failures", job, target)
        sentence = error if isinstance(error, str) else unforeseen(error)
        with self._lock:
            known = self._logged.get((job, target)) == sentence
            self._logged[job, target] = sentence
        if not known:
            named = f"{job} of {target}" if target else job
            log.warning("tenant %s: %s: %s; %s", self._tenant, named, sentence, self._again)

    def over(self, job: str, target: str = "") -> None:
        """Log that a job succeeded, if it had failed before."""
        with self._lock:
            failed = self._logged.pop((job, target), None)
        if failed is not None:
            named = f"{job} of {target}" if target else job
            log.info("tenant %s: %s: all is well again", self._tenant, named)


def unforeseen(error: BaseException) -> str:
    """Return a sentence with the type and the place of an exception, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(frames))
    return f"a defect, {type(error).__name__} at {places or 'an unknown place'}"
