"""Writes what was measured into docs/performance.md, whose prose stays as it is.

A table, with the machine and the versions below it, stands in the page between ``<!-- bench: NAME
-->`` and ``<!-- end -->``, followed by its plots.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from bench.results import Table

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"

MISSED = "✗ marks a value that missed its aim. Measured on:"


class MissingPlaceError(Exception):
    """The page has no place for a table."""


def write(tables: Sequence[Table], machine: str) -> None:
    """Write tables into the page, and their plots beside it.

    :raises MissingPlaceError: When the page has no place for one of them.
    """
    from bench import plots

    text = PAGE.read_text()
    for table in tables:
        parts = [markdown(table), textwrap.fill(f"{MISSED} {machine}.", 130)]
        for plot in table.plots:
            file = plots.draw(plot, IMAGES)
            parts.append(f"![{plot.title}]({file.relative_to(PAGE.parent)})")
        text = _with(text, table.name, "\n\n".join(parts))
    PAGE.write_text(text)


def markdown(table: Table) -> str:
    """Return a table as Markdown."""
    lines = [list(table.headings), ["---"] + ["---:"] * (len(table.headings) - 1)]
    lines += [list(row) for row in table.rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("<=", "≤").replace(">=", "≥")


def _with(text: str, name: str, content: str) -> str:
    begin = f"<!-- bench: {name} -->\n"
    place = re.compile(re.escape(begin) + r".*?(?=<!-- end -->)", re.DOTALL)
    if not place.search(text):
        raise MissingPlaceError(f"{PAGE} has no place for the table {name}")
    return place.sub(lambda _: f"{begin}\n{content}\n\n", text)
