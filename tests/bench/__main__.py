"""``make bench``: prints the tables that stand in docs/performance.md, and writes them there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click
from rich.console import Console
from rich.table import Table as Printed

from bench import (
    busy_revocation,
    cpu,
    dbless,
    drift,
    generator,
    groups,
    growth,
    growth_on_postgres,
    guard_tax,
    machine,
    memory,
    on_kong,
    outbox,
    page,
    revocation,
    siege,
    throughput,
)
from bench.options import OPTIONS
from bench.results import Table, of_ratios
from bench.timing import Ratio

Measure = Callable[[Callable[[str], None]], Sequence[Ratio] | Sequence[Table]]

SECTIONS: dict[str, tuple[str, Measure]] = {
    "generator": ("The load generator alone", generator.measure),
    "throughput": ("Throughput beside SCIM servers that stand alone", throughput.measure),
    "kong": ("A real Kong: SCIM beside the Admin API", on_kong.measure),
    "guard": ("The guard on each request of a keyed route", guard_tax.measure),
    "cpu": ("CPU for each request", cpu.measure),
    "groups": ("Large groups", groups.measure),
    "dbless": ("A DB-less gateway", dbless.measure),
    "growth": ("Growth on the sandbox", growth.measure),
    "growth-postgres": ("Growth on Kong with PostgreSQL", growth_on_postgres.measure),
    "drift": ("A search for drift in the background", drift.measure),
    "outbox": ("Events that nobody takes", outbox.measure),
    "revocation": ("A revocation in a cluster of two nodes", revocation.measure),
    "busy-revocation": ("A revocation while many import", busy_revocation.measure),
    "siege": ("Revocations while another tenant sends what costs most", siege.measure),
    "memory": ("Memory of the plugin server", memory.measure),
}


@click.command()
@click.option("--only", type=click.Choice(list(SECTIONS)), multiple=True, help="Some sections.")
@click.option("--long", is_flag=True, help="Also what takes an hour.")
@click.option("--quick", is_flag=True, help="A twentieth of everything, to try the machinery.")
@click.option("--short", is_flag=True, help="A quarter of everything, in half an hour.")
@click.option("--write", is_flag=True, help="Write the tables into docs/performance.md.")
def main(only: tuple[str, ...], long: bool, quick: bool, short: bool, write: bool) -> None:
    """Measure, and print each section when it is done."""
    OPTIONS.long, OPTIONS.quick, OPTIONS.short = long, quick, short
    console = Console(width=150)
    console.print(machine.description())
    missed = 0
    for name in only or SECTIONS:
        title, measure = SECTIONS[name]
        with console.status(f"{title} ..."):
            found = measure(console.print)
        tables = _tables(name, title, found)
        if write:
            page.write(tables, machine.description())
        for table in tables:
            console.print(_printed(table))
            missed += len(table.missed)
    if missed:
        console.print(f"✗ marks the {missed} values that missed their aim.")


def _tables(name: str, title: str, found: Sequence[Ratio] | Sequence[Table]) -> list[Table]:
    """Return the tables of a section, which may have returned ratios."""
    ratios = [each for each in found if isinstance(each, Ratio)]
    tables = [each for each in found if isinstance(each, Table)]
    return [*tables, *([of_ratios(name, title, ratios)] if ratios else [])]


def _printed(table: Table) -> Printed:
    printed = Printed(title=table.title, title_justify="left")
    for number, heading in enumerate(table.headings):
        printed.add_column(heading, justify="right" if number else "left")
    for row in table.rows:
        printed.add_row(*row)
    return printed


if __name__ == "__main__":
    main()
