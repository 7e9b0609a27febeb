"""``make bench``: prints the tables that stand in docs/performance.md."""

from __future__ import annotations

import os
import platform

import click
from rich.console import Console
from rich.table import Table

from bench import (
    after_restart,
    against_memory,
    growth,
    guard_tax,
    on_kong,
    outbox,
    revocation,
    siege,
)
from bench.timing import Ratio

SECTIONS = {
    "sandbox": ("The sandbox beside scim2-server's in-memory server", against_memory.measure),
    "growth": ("Growth", growth.measure),
    "outbox": ("Events that nobody takes", outbox.measure),
    "restart": ("A DB-less gateway after a start", after_restart.measure),
    "revocation": ("A revocation in a cluster of two nodes", revocation.measure),
    "siege": ("Revocations while another tenant sends what costs most", siege.measure),
    "kong": ("A real Kong: SCIM beside the Admin API", on_kong.measure),
    "guard": ("The guard on each request of a keyed route", guard_tax.measure),
}


@click.command()
@click.option("--only", type=click.Choice(list(SECTIONS)), multiple=True, help="Some sections.")
def main(only: tuple[str, ...]) -> None:
    """Measure, and print each section when it is done."""
    console = Console(width=110)
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    missed = False
    for name in only or SECTIONS:
        title, measure = SECTIONS[name]
        with console.status(f"{title} ..."):
            ratios = measure(console.print)
        if ratios:
            console.print(_table(title, ratios))
        missed |= any(ratio.aim is not None and ratio.factor > ratio.aim for ratio in ratios)
    if missed:
        console.print("An aim was missed.")


def _table(title: str, ratios: list[Ratio]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("", "ours (ms)", "against", "(ms)", "factor", "aim", "rounds"):
        table.add_column(heading, justify="left" if heading in ("", "against") else "right")
    for ratio in ratios:
        table.add_row(
            ratio.name,
            f"{ratio.ours * 1000:.2f}",
            ratio.against,
            f"{ratio.theirs * 1000:.2f}",
            f"{ratio.factor:.2f}",
            "" if ratio.aim is None else f"<= {ratio.aim}",
            str(ratio.rounds),
        )
    return table


if __name__ == "__main__":
    main()
