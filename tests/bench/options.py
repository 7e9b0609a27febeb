"""How much is measured: whole, short, quick (to try the machinery) or long."""

from __future__ import annotations

from dataclasses import dataclass

_QUICK = 20
_SHORT = 4


@dataclass
class Options:
    """The options of this run.

    :param quick: Whether a twentieth is enough, because only the machinery is tried.
    :param short: Whether a quarter is enough, for all tables within half an hour.
    :param long: Whether what takes an hour is measured too.
    """

    quick: bool = False
    short: bool = False
    long: bool = False

    def sized(self, count: int, least: int = 1) -> int:
        """Return a count, or a part of it in a quick or a short run."""
        part = _QUICK if self.quick else _SHORT if self.short else 1
        return max(least, count // part)

    @property
    def rounds(self) -> int:
        """The rounds in which the sides take turns."""
        return 1 if self.quick else 3

    @property
    def seconds(self) -> float:
        """The seconds of one measurement of a throughput."""
        return 0.3 if self.quick else 1.0 if self.short else 3.0


OPTIONS = Options()
"""The options of this run, which the command line sets."""
