"""Retries a change if others wrote between its first read and its commit."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from kong_scim import cpu
from kong_scim.directory.ports import Conflict

ATTEMPTS = 50
"""The most attempts of a change that meets conflicts."""

FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.1
"""The first and the longest upper bound of the pause between attempts, in seconds. The bound
doubles each time; the pause is a random part of it."""

T = TypeVar("T")


def retried(attempt: Callable[[], T]) -> T:
    """Run a change, and again from its first read after each conflict.

    :raises Conflict: When :data:`ATTEMPTS` attempts met a conflict.
    """
    pause = FIRST_PAUSE
    for _ in range(ATTEMPTS):
        try:
            return attempt()
        except Conflict:
            with cpu.waiting():
                time.sleep(random.uniform(0, pause))  # noqa: S311 - spreads contenders, no secret
            pause = min(2 * pause, LONGEST_PAUSE)
    raise Conflict(detail="Others keep changing the same resources: try again")
