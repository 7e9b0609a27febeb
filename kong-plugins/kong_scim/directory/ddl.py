"""The statements that create the SCIM tables.

``python -m kong_scim.directory.ddl --dialect postgresql --migration NAME`` prints those of one
migration of scim-bridge; :mod:`kong_scim.directory.sqlite` runs all of them.
"""

from __future__ import annotations

import argparse

from sqlalchemy.schema import CreateIndex, CreateTable

from kong_scim.bridge import Dialect
from kong_scim.directory import administration_tables, event_tables, tables  # noqa: F401 - metadata
from kong_scim.directory.columns import metadata
from kong_scim.directory.statements import dialect_of


def statements(dialect: Dialect, migration: str | None = None) -> list[str]:
    """Return one statement for each table and index, which does nothing if it exists already.

    :param migration: The migration of scim-bridge whose tables are created; None for all. An index
        may have a later one than its table.
    """
    compiler = dialect_of(dialect)
    creations: list[CreateTable | CreateIndex] = []
    for table in metadata.sorted_tables:
        if migration in (None, table.info["migration"]):
            creations.append(CreateTable(table, if_not_exists=True))
        creations.extend(
            CreateIndex(index, if_not_exists=True)
            for index in sorted(table.indexes, key=lambda index: str(index.name))
            if migration in (None, index.info.get("migration", table.info["migration"]))
        )
    return [
        "\n".join(line.rstrip() for line in text.strip().splitlines())
        for text in (str(creation.compile(dialect=compiler)) for creation in creations)
    ]


def main() -> None:
    """Print the statements, each with a semicolon at its end."""
    parser = argparse.ArgumentParser(description="Print the SCIM tables as SQL.")
    parser.add_argument("--dialect", choices=["postgresql", "sqlite"], required=True)
    parser.add_argument("--migration", metavar="NAME", help="such as 000_base_scim_bridge")
    arguments = parser.parse_args()
    for statement in statements(arguments.dialect, arguments.migration):
        print(f"{statement};")


if __name__ == "__main__":
    main()
