"""Running a change again when others wrote between its first read and its commit."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from kong_scim import cpu
from kong_scim.directory.ports import Conflict

ATTEMPTS = 50
"""How often a change is tried that others keep overtaking."""

FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.1
"""Bounds of the pause between attempts, in seconds; it doubles, and is a random part of that."""

T = TypeVar("T")


def retried(attempt: Callable[[], T]) -> T:
    """Run a change, and again from its first read for as long as others overtake it.

    :raises Conflict: When it keeps being overtaken.
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
