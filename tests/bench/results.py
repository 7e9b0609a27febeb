"""What a section found: tables, with what missed its aim, and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.timing import Ratio


@dataclass(frozen=True)
class Bars:
    """A plot of ratios: a group of bars for each label, with a line at 1.

    :param series: A value for each label, or None, by the name of the series.
    """

    name: str
    title: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Curves:
    """A plot of how something grows, with logarithmic axes.

    :param series: A value for each x, by the name of the series.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    x: Sequence[float]
    series: Mapping[str, Sequence[float]]


@dataclass
class Table:
    """A table of docs/performance.md.

    :param name: The name of its markers in the page.
    :param missed: The rows that missed their aim, as sentences.
    """

    name: str
    title: str
    headings: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    plots: list[Bars | Curves] = field(default_factory=list)


def judged(value: str, holds: bool | None) -> str:
    """Return a value with a mark if it missed its aim."""
    return f"{value} ✗" if holds is False else value


def of_ratios(name: str, title: str, ratios: Sequence[Ratio]) -> Table:
    """Return the table of ratios, of which the largest one that is allowed may be given."""
    table = Table(name, title, ("", "ours (ms)", "against", "(ms)", "factor", "aim"))
    for ratio in ratios:
        missed = ratio.aim is not None and ratio.factor > ratio.aim
        if missed:
            table.missed.append(f"{ratio.name}: {ratio.factor:.2f}, the aim is {ratio.aim}")
        table.rows.append(
            (
                ratio.name,
                f"{ratio.ours * 1000:.2f}",
                ratio.against,
                f"{ratio.theirs * 1000:.2f}",
                judged(f"{ratio.factor:.2f}", not missed),
                "" if ratio.aim is None else f"<= {ratio.aim}",
            )
        )
    return table
