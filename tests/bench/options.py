"""How much is measured: whole, quick (to try the machinery) or long."""

from __future__ import annotations

from dataclasses import dataclass

_QUICK = 20


@dataclass
class Options:
    """The options of this run.

    :param quick: Whether a twentieth is enough, because only the machinery is tried.
    :param long: Whether what takes an hour is measured too.
    """

    quick: bool = False
    long: bool = False

    def sized(self, count: int, least: int = 1) -> int:
        """Return a count, or a part of it in a quick run."""
        return max(least, count // _QUICK) if self.quick else count

    @property
    def rounds(self) -> int:
        """The rounds in which the sides take turns."""
        return 1 if self.quick else 3

    @property
    def seconds(self) -> float:
        """The seconds of one measurement of a throughput."""
        return 0.3 if self.quick else 3.0


OPTIONS = Options()
"""The options of this run, which the command line sets."""
