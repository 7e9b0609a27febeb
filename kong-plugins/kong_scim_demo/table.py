"""Shows the demo as it happens: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

from kong_scim.cli.printing import safe

_FRAME = 6
_LINES_OF_A_ROW = 2
"""Lines that a row needs, mostly at most, on a terminal of 100 columns."""


@dataclass
class TableRow:
    """One row of the demo: a request, the expected answer, and the result.

    :param who: The sender: the identity provider, an administrator, or an application.
    :param answer: The answer, or the progress of several requests.
    :param effect: What the request changed in the gateway.
    :param milliseconds: How long the request took, or the slowest of several.
    :param held: Whether the expectation held; None while the request runs.
    """

    who: str
    request: str
    expected: str
    answer: str = ""
    effect: str = ""
    milliseconds: float | None = None
    held: bool | None = None


class LiveTable:
    """The rows so far."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: list[TableRow] = []
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the rows while the block runs."""
        if not self._console.is_terminal:
            yield
            return
        # A table that is higher than the terminal cannot be drawn again. So only the last rows are
        # shown while the block runs, and all of them at its end.
        try:
            with Live(
                get_renderable=lambda: self._table(self._rows[-self._fitting() :]),
                console=self._console,
                refresh_per_second=12,
                transient=True,
            ) as self._live:
                yield
        finally:
            self._console.print(self._table(self._rows))

    def begin(self, row: TableRow) -> None:
        """Add a row whose request begins now."""
        self._rows.append(row)

    def end(self, row: TableRow) -> None:
        """Show a row whose request has ended."""
        if self._live is not None:
            self._live.refresh()
            return
        mark = "ok  " if row.held else "FAIL"
        took = "" if row.milliseconds is None else f" ({row.milliseconds:.0f} ms)"
        self._plain(f"{mark} {row.who}: {row.request} -> {row.answer}{took}")
        if row.effect:
            self._plain(f"       {row.effect}")
        if not row.held:
            self._plain(f"       expected: {row.expected}")

    def _plain(self, text: str) -> None:
        self._console.print(safe(text), markup=False, highlight=False, soft_wrap=True)

    def _fitting(self) -> int:
        return max(1, (self._console.height - _FRAME) // _LINES_OF_A_ROW)

    @staticmethod
    def _table(rows: Sequence[TableRow]) -> Table:
        table = Table(
            title="Kong SCIM: from the identity provider to the next request", expand=True
        )
        table.add_column("Who", no_wrap=True)
        table.add_column("Request", ratio=4, overflow="fold")
        table.add_column("Answer", ratio=3, overflow="fold")
        table.add_column("Effect in the gateway", ratio=4, overflow="fold")
        table.add_column("ms", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for row in rows:
            mark = {None: "[yellow]…[/]", True: "[green]✓[/]", False: "[red]✗[/]"}[row.held]
            effect = row.effect if row.held is not False else f"expected: {row.expected}"
            took = "" if row.milliseconds is None else f"{row.milliseconds:.0f}"
            # Text from outside must not be read as markup.
            table.add_row(row.who, *map(_text, (row.request, row.answer, effect)), took, mark)
        return table


def _text(value: str) -> str:
    return safe(value).replace("[", r"\[")
