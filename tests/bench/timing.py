"""Time measured as ratios: two or more sides take turns, so that all meet the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.options import OPTIONS

Side = TypeVar("Side")

Work = Callable[[int], None]
"""Something to time; it is given the number of the round."""


@dataclass(frozen=True)
class Ratio:
    """How long one thing takes beside another.

    :param ours: Median of the thing measured, in seconds.
    :param theirs: Median of what it is compared with, in seconds.
    """

    name: str
    ours: float
    theirs: float
    against: str
    rounds: int
    aim: float | None = None

    @property
    def factor(self) -> float:
        """How many times as long ours takes; below 1 it is faster."""
        return self.ours / self.theirs


def compare(
    name: str,
    ours: Work,
    theirs: Work,
    *,
    against: str,
    rounds: int = 200,
    warm_up: int = 20,
    aim: float | None = None,
) -> Ratio:
    """Run both in turn, ours first in every other round, and compare their medians.

    :param aim: The largest factor that is as it should be, where there is an aim.
    """
    rounds, warm_up = OPTIONS.sized(rounds, 3), OPTIONS.sized(warm_up)
    spent: tuple[list[float], list[float]] = ([], [])
    works = (ours, theirs)
    for number in range(warm_up + rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            works[which](number)
            if number >= warm_up:
                spent[which].append(time.perf_counter() - started)
    return Ratio(
        name, statistics.median(spent[0]), statistics.median(spent[1]), against, rounds, aim
    )


def in_turns(sides: Sequence[Side], measure: Callable[[Side], float]) -> dict[Side, float]:
    """Measure all sides in each round, another one first each time; return their medians."""
    found: dict[Side, list[float]] = {side: [] for side in sides}
    for number in range(OPTIONS.rounds):
        first = number % len(sides)
        for side in [*sides[first:], *sides[:first]]:
            found[side].append(measure(side))
    return {side: statistics.median(values) for side, values in found.items()}


def timed(work: Callable[[], object]) -> float:
    """Return how long something takes once, in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
